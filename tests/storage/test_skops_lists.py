"""The lists of skops are built for those who use them, and are what skops builds when it is imported."""

import subprocess
import sys
from zipfile import ZipFile

import skops.io
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline

SAVE_THEN_USE_SKOPS = """
import sys
import numpy as np
from diurnal.storage import models
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

X, y = np.eye(4), [0, 1, 0, 1]
plain = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
_, reloaded = models.get_format("skops").dump_and_reload(plain)
assert (reloaded.predict_proba(X) == plain.predict_proba(X)).all()
assert "sklearn.mixture" not in sys.modules, "a model of imported classes needs no other module of scikit-learn"

import skops.io

class Own(StandardScaler):
    pass

with_ufunc = make_pipeline(FunctionTransformer(expit), FunctionTransformer(np.log1p), *plain[:]).fit(X, y)
assert skops.io.get_untrusted_types(data=skops.io.dumps(with_ufunc)) == []
assert (skops.io.loads(skops.io.dumps(with_ufunc)).predict(X) == with_ufunc.predict(X)).all()
assert "sklearn.mixture" in sys.modules
data = skops.io.dumps(make_pipeline(Own()))
assert skops.io.get_untrusted_types(data=data) == ["__main__.Own"]
generator = skops.io.loads(skops.io.dumps(np.random.default_rng(3)))
assert generator.random() == np.random.default_rng(3).random()
"""

LOAD = """
import sys
from diurnal.errors import DiurnalError
from diurnal.storage import models

load = models.get_format("skops").loads
plain, unknown = (open(path, "rb").read() for path in sys.argv[1:])
assert "sklearn.naive_bayes" not in sys.modules
print(load(plain))
assert "sklearn.mixture" not in sys.modules, "only the packages that the file names are imported"
try:
    load(unknown)
except DiurnalError as error:
    print(error)
"""


def test_a_model_is_loaded_with_the_packages_of_its_own_types(tmp_path):
    plain, unknown = tmp_path / "plain.skops", tmp_path / "unknown.skops"
    skops.io.dump(make_pipeline(GaussianNB()), plain)
    with ZipFile(plain) as source, ZipFile(unknown, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name).replace(b"sklearn.naive_bayes", b"sklearn.clone"))
    done = subprocess.run([sys.executable, "-c", LOAD, plain, unknown], check=True, capture_output=True, text=True)
    assert "GaussianNB()" in done.stdout
    assert "sklearn.clone.GaussianNB" in done.stdout


def test_other_code_of_the_process_uses_skops_as_it_is():
    subprocess.run([sys.executable, "-c", SAVE_THEN_USE_SKOPS], check=True)


def test_our_own_lists_have_what_those_of_skops_have():
    from skops.io import _trusted_types as skops

    from diurnal.storage.models.skops_nodes import _dtype_names, _known_names, _plain_types
    from diurnal.storage.models.trusted_types import allowed_types

    assert _plain_types() >= {*skops.PRIMITIVE_TYPE_NAMES, *skops.CONTAINER_TYPE_NAMES, *skops.NUMPY_DTYPE_TYPE_NAMES}
    assert _dtype_names() == set(skops.NUMPY_DTYPE_TYPE_NAMES)
    allowed_types.cache_clear()  # another test may have enabled further estimators since it was called
    assert allowed_types() >= {*skops.SKLEARN_INTERNAL_TYPE_NAMES, *_known_names("ObjectNode")}
    assert len(skops.SKLEARN_ESTIMATOR_TYPE_NAMES) > 150
    assert len(skops.SCIPY_UFUNC_TYPE_NAMES) > 100
