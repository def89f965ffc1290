"""Hostile files that name what other libraries, pandas or Python have: nothing runs, is opened or crashes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from diurnal.errors import InvalidModelError
from diurnal.storage.models.skops_format import FORMAT
from diurnal.storage.models.states import STATE_NAMES, find_state
from diurnal.storage.models.zip_archive import read_model_archive, write_archive

rng = np.random.default_rng(2)
X = pd.DataFrame(rng.normal(size=(60, 3)), columns=list("abc"))
CODED = X.assign(size=pd.Categorical(np.arange(60) % 8))
Y = (X["a"] > 0).astype(int).to_numpy()


def text(value):
    return {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "content": json.dumps(value)}


def node(name, loader, **more):
    module, _, cls = name.rpartition(".")
    return {"__class__": cls, "__module__": module, "__loader__": loader, **more}


def several(*content, loader="TupleNode"):
    return node({"TupleNode": "builtins.tuple", "ListNode": "builtins.list"}[loader], loader, content=list(content))


def table(**content):
    key_nodes = several(*[node("builtins.str", "TypeNode")] * len(content), loader="ListNode")
    return node("builtins.dict", "DictNode", content=content, key_types=key_nodes)


def read(root, **members):
    return FORMAT.loads(write_archive({"schema.json": json.dumps(root | {"protocol": 2}).encode()} | members))


BOOSTERS = ("xgboost.core.Booster", "lightgbm.basic.Booster", "catboost.core.CatBoostClassifier")


@pytest.mark.parametrize("name", BOOSTERS)
@pytest.mark.parametrize("loader", ["ConstructorFromReduceNode", "ObjectNode", "TypeNode", "FunctionNode"])
def test_a_booster_is_made_of_its_state_only(name, loader, tmp_path):
    """Not by a constructor, which opens files, nor by a state of the library's own, which compiled code parses."""
    file = tmp_path / "model.txt"
    file.write_text("tree\n")
    content = {
        "ConstructorFromReduceNode": several(text(None), text(None), text(str(file))),
        "ObjectNode": table(handle=text(None), _handle=text(140737488355328)),
    }.get(loader, text(None))
    with pytest.raises(InvalidModelError, match=f"not allowed: {name.replace('.', '[.]')}"):
        read(node(name, loader, content=content))


GADGETS = {
    "a type that opens": node("builtins.open", "FunctionNode"),
    "a builtin type": node("builtins.eval", "TypeNode"),
    "an attribute getter": node("operator.attrgetter", "OperatorFuncNode", attrs=several(text("__class__"))),
    "a method caller": node(
        "operator.methodcaller", "OperatorFuncNode", attrs=several(text("to_pickle"), text("/tmp/x"))
    ),
    "a method": node(
        "sklearn.linear_model._logistic.LogisticRegression",
        "MethodNode",
        content={"func": "fit", "obj": node("sklearn.linear_model._logistic.LogisticRegression", "ObjectNode")},
    ),
    "a partial of a gadget": node(
        "functools.partial",
        "PartialNode",
        content={
            "func": node("subprocess.run", "FunctionNode"),
            "args": several(text("id")),
            "kwds": table(),
            "namespace": text(None),
        },
    ),
    "an object array of a gadget": node(
        "numpy.ndarray", "NdArrayNode", type="json", shape=several(text(1)), content=[node("os.system", "FunctionNode")]
    ),
    "a dtype of another class": node("numpy.load", "NdArrayNode", type="numpy", file="1.npy"),
    "a random state of another class": node("os.getcwd", "RandomStateNode", content=table()),
    "a generator of another class": node(
        "os.getcwd",
        "RandomGeneratorNode",
        content={"bit_generator": table(bit_generator=text("PCG64")), "seed_seq": table()},
    ),
    "a loss of another class": node("os.getcwd", "LossNode", content=table(), __reduce__={"args": several()}),
    "a set of another class": node("os.getcwd", "SetNode", content=[]),
    "an unknown loader": node("builtins.str", "QuantileForestNode", content=text("x"), __reduce__={"args": several()}),
    "a state of an unknown type": node("os.getcwd", "StateNode", content=text("x")),
    "a listed class as a dict": node(
        "sklearn.pipeline.Pipeline", "DictNode", content={}, key_types=several(loader="ListNode")
    ),
    "a listed class that is called": node(
        "sklearn.feature_extraction.text.CountVectorizer", "ConstructorFromReduceNode", content=several()
    ),
    "a class of skrub that loads models by name": node("skrub._llm_encoder.TextEncoder", "ObjectNode", content=table()),
    "a learner of skrub that evaluates": node("skrub.SkrubLearner", "ObjectNode", content=table()),
    "a data set of lightgbm": node("lightgbm.basic.Dataset", "ObjectNode", content=table(_handle=text(4096))),
    "a class of xgboost that is called": node(
        "xgboost.sklearn.XGBClassifier", "ConstructorFromReduceNode", content=several()
    ),
    "a class of imblearn as a function": node("imblearn.over_sampling._smote.base.SMOTE", "FunctionNode"),
}


@pytest.mark.parametrize("name", GADGETS)
def test_loads_refuses_a_gadget_before_it_makes_anything(name, monkeypatch):
    monkeypatch.setattr(skops.io, "loads", lambda *a, **k: pytest.fail("the file was passed to skops"))
    with pytest.raises(InvalidModelError, match="not allowed"):
        read(several(text("first"), GADGETS[name], loader="ListNode"))


def called_for_keys(called):
    return node("builtins.dict", "DictNode", content={"x": text(1)}, key_types=several(called, loader="ListNode"))


@pytest.mark.parametrize(
    "root",
    [
        called_for_keys(node("numpy.mean", "FunctionNode")),
        called_for_keys(
            node("sklearn.feature_extraction.text.CountVectorizer", "TypeNode") | {"__loader__": "ObjectNode"}
        ),
        node(
            "collections.defaultdict",
            "DefaultDictNode",
            content={"main": table(), "default_factory": node("numpy.mean", "FunctionNode")},
        ),
    ],
)
def test_loads_refuses_a_dict_that_calls_what_the_file_names(root):
    with pytest.raises(InvalidModelError, match="a dict that calls"):
        read(root)


def test_a_state_is_read_by_our_reader_only():
    data = FORMAT.dumps(make_pipeline(FunctionTransformer(kw_args={"rows": X}), LogisticRegression()))
    with pytest.raises(TypeError, match="can read this file"):
        skops.io.loads(data)


def test_what_others_write_with_skops_is_as_ever():
    FORMAT.dumps(LogisticRegression())  # our states are known to skops from here on
    nested = {"a": {True: "y"}, "b": {"x": 1}}
    assert b"StateNode" not in skops.io.dumps(nested)


BROKEN = {
    "pandas.Index": [None, {"range": [0, 1, 0], "name": None}, {"values": {"cells": np.zeros((2, 2))}, "name": None}],
    "pandas.Series": [
        {"values": {"cells": np.zeros(2)}},
        {"values": {"cells": 3}, "index": pd.RangeIndex(2), "name": 0},
    ],
    "pandas.DataFrame": [{"columns": pd.Index(["a"]), "index": pd.RangeIndex(1), "values": []}],
    "pandas.ExtensionDtype": ["category", "Sparse[int]", "string[pyarrow]", 3],
    "pandas.Timestamp": [
        {"count": 0, "unit": "fortnight", "zone": None},
        {"count": 0, "unit": "s", "zone": "../../etc/passwd"},
    ],
    "pandas.Timedelta": [{"count": 0.5, "unit": "s"}],
    "builtins.dict": [{"keys": 3, "values": []}],
    "sklearn.MetadataRequest": [
        {"owner": "x", "requests": {"__class__": {}}},
        {"owner": 3, "requests": {}},
        {"owner": "x", "requests": {"fit": {"w": 1.5}}},
    ],
}


@pytest.mark.parametrize(("name", "state"), [(name, state) for name, states in BROKEN.items() for state in states])
def test_a_broken_state_is_refused(name, state):
    with pytest.raises((InvalidModelError, ValueError)):
        find_state(name).from_state(state)


def test_every_kind_of_state_is_tried_here():
    assert STATE_NAMES - BROKEN.keys() == {
        "catboost.CatBoostClassifier",
        "catboost.CatBoostRegressor",
        "lightgbm.Booster",
        "pandas.CategoricalDtype",
        "pandas.NA",
        "pandas.NaT",
        "xgboost.Booster",
    }


@pytest.fixture(scope="module")
def xgboost_state():
    import xgboost

    model = xgboost.XGBClassifier(n_estimators=2, max_depth=2, n_jobs=1, enable_categorical=True, max_cat_to_onehot=2)
    return json.loads(
        find_state("xgboost.Booster").to_state(model.fit(CODED, CODED["size"].cat.codes % 2).get_booster())["json"]
    )


def trees_of(document):
    return document["learner"]["gradient_booster"]["model"]["trees"]


XGBOOST = {
    "a child beyond the tree": lambda d: trees_of(d)[0]["left_children"].__setitem__(0, 10**6),
    "a child before its parent": lambda d: trees_of(d)[0]["right_children"].__setitem__(2, 1),
    "a feature that is not there": lambda d: trees_of(d)[0]["split_indices"].__setitem__(0, 99),
    "an array that is cut": lambda d: trees_of(d)[0]["split_conditions"].pop(),
    "a tree of another number": lambda d: trees_of(d)[1].update(id=0),
    "an output that is not there": lambda d: d["learner"]["gradient_booster"]["model"]["tree_info"].__setitem__(0, 7),
    "a category of 31 bits": lambda d: trees_of(d)[0]["categories"].__setitem__(0, 2**31 - 1),
    "a segment beyond the categories": lambda d: trees_of(d)[0]["categories_segments"].__setitem__(0, 10**6),
    "more nodes than there are": lambda d: trees_of(d)[0]["tree_param"].update(num_nodes="1000000"),
    "an order of categories beyond them": lambda d: d["learner"]["gradient_booster"]["model"]["cats"][
        "sorted_idx"
    ].__setitem__(0, 10**6),
    "more classes than outputs": lambda d: d["learner"]["objective"].update(
        name="multi:softprob", softmax_multiclass_param={"num_class": "1000000"}
    ),
    "an objective of its own": lambda d: d["learner"]["objective"].update(name="survival:aft/../../x"),
    "iterations beyond the trees": lambda d: d["learner"]["gradient_booster"]["model"].update(
        iteration_indptr=[0, 1, 9]
    ),
    "an unknown key": lambda d: d["learner"].update(attributes={"a": 1}),
}


@pytest.mark.parametrize("name", XGBOOST)
def test_a_crafted_model_of_xgboost_is_refused(name, xgboost_state):
    document = json.loads(json.dumps(xgboost_state))
    XGBOOST[name](document)
    with pytest.raises(InvalidModelError, match="the model is invalid"):
        find_state("xgboost.Booster").from_state({"json": json.dumps(document).encode()})


@pytest.fixture(scope="module")
def lightgbm_state():
    import lightgbm

    params = {"n_estimators": 2, "num_leaves": 4, "min_child_samples": 2, "max_cat_to_onehot": 2, "verbose": -1}
    params |= {"min_data_per_group": 1, "cat_smooth": 0.0}
    model = lightgbm.LGBMClassifier(**params).fit(CODED, CODED["size"].cat.codes % 2)
    return find_state("lightgbm.Booster").to_state(model.booster_)


LIGHTGBM = {
    "a child that is itself": ("left_child=", "left_child=0 "),
    "more leaves than values": ("num_leaves=", "num_leaves=9"),
    "a feature that is not there": ("split_feature=", "split_feature=9"),
    "more features than names": ("max_feature_idx=3", "max_feature_idx=4000000"),
    "more classes than trees": ("num_class=1", "num_class=9"),
    "an objective of other classes": ("objective=binary sigmoid:1", "objective=multiclass num_class:9"),
    "sets of categories that overlap": ("cat_boundaries=0 ", "cat_boundaries=7 "),
    "a line of its own": ("num_cat=", "forcedsplits_filename=/etc/passwd\nnum_cat="),
    "a section of its own": ("tree_sizes=", "machines=10.0.0.1:80\ntree_sizes="),
    "a threshold that is no number": ("threshold=", "threshold=0x7f "),
    "a version of its own": ("version=v4", "version=v9"),
}


@pytest.mark.parametrize("name", LIGHTGBM)
def test_a_crafted_model_of_lightgbm_is_refused(name, lightgbm_state):
    before, after = LIGHTGBM[name]
    changed = lightgbm_state["text"].decode().replace(before, after, 1)
    assert changed != lightgbm_state["text"].decode()
    with pytest.raises(InvalidModelError, match="the model is invalid"):
        find_state("lightgbm.Booster").from_state(lightgbm_state | {"text": changed.encode()})


def test_lightgbm_is_given_the_true_sizes_of_its_trees(lightgbm_state):
    """LightGBM trusts the sizes in the text; those of a file are not used."""
    lied = lightgbm_state["text"].replace(b"tree_sizes=", b"tree_sizes=99999999 ", 1)
    booster = find_state("lightgbm.Booster").from_state(lightgbm_state | {"text": lied})
    honest = find_state("lightgbm.Booster").from_state(lightgbm_state)
    assert booster.model_to_string() == honest.model_to_string()


@pytest.fixture(scope="module")
def catboost_state():
    import catboost

    params = {"n_estimators": 2, "depth": 2, "verbose": 0, "allow_writing_files": False, "cat_features": ["city"]}
    rows = X.assign(city=np.array(["Rome", "Oslo", "Bern"])[np.arange(60) % 3])
    state = find_state("catboost.CatBoostClassifier").to_state(catboost.CatBoostClassifier(**params).fit(rows, Y))
    return json.loads(state["json"])


CATBOOST = {
    "a split that is not there": lambda d: d["oblivious_trees"][0]["splits"][0].update(split_index=10**6),
    "a split of another feature": lambda d: d["oblivious_trees"][0]["splits"][0].update(float_feature_index=2),
    "too few leaves": lambda d: d["oblivious_trees"][0]["leaf_values"].pop(),
    "too many splits": lambda d: d["oblivious_trees"][0].update(splits=d["oblivious_trees"][0]["splits"] * 40),
    "a number that JSON does not have": lambda d: d["oblivious_trees"][0]["leaf_weights"].__setitem__(0, float("inf")),
    "a class out of order": lambda d: d["model_info"]["class_params"].update(class_to_label=[0, 7]),
    "features out of place": lambda d: d["features_info"]["float_features"][0].update(flat_feature_index=77),
    "borders out of order": lambda d: d["features_info"]["float_features"][0].update(borders=[3.0, 1.0]),
    "a part of its own": lambda d: d.update(text_features=[]),
}


@pytest.mark.parametrize("name", CATBOOST)
def test_a_crafted_model_of_catboost_is_refused(name, catboost_state):
    document = json.loads(json.dumps(catboost_state))
    CATBOOST[name](document)
    with pytest.raises((InvalidModelError, ValueError), match=r"the model is invalid|not JSON compliant"):
        find_state("catboost.CatBoostClassifier").from_state({"json": json.dumps(document).encode(), "params": {}})


def test_a_model_of_catboost_is_refused_whole(catboost_state):
    import catboost

    rows = X.assign(city="Rome")
    params = {"n_estimators": 2, "verbose": 0, "allow_writing_files": False, "cat_features": ["city"]}
    members = read_model_archive(FORMAT.dumps(catboost.CatBoostClassifier(**params).fit(rows, Y)))
    name = next(
        name for name, content in members.items() if content.startswith(b'{"ctr_data') or b"oblivious" in content
    )
    with pytest.raises(InvalidModelError, match=r"JSONDecodeError|the model is invalid"):
        FORMAT.loads(write_archive(members | {name: members[name][:-40]}))


def test_hostile_models_do_not_crash_the_process():
    """Numbers of honest models changed at random: each is refused, or read and asked, in a process that lives on."""
    script = Path(__file__).parents[1] / "support" / "fuzzing.py"
    done = subprocess.run([sys.executable, str(script), "150"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    counts = json.loads(done.stdout.splitlines()[-1])
    assert all(count["refused"] > 20 and count["asked"] > 5 for count in counts.values()), counts


def test_names_that_pandas_would_call_are_refused():
    from feature_engine.creation import MathFeatures

    def model(func):
        return make_pipeline(MathFeatures(variables=["a", "b"], func=func), LogisticRegression())

    assert FORMAT.loads(FORMAT.dumps(model("mean").fit(X, Y))).predict(X).shape == (60,)
    hostile = model("mean").fit(X, Y)
    hostile[0].func = ["sum", "to_clipboard"]
    with pytest.raises(InvalidModelError, match="MathFeatures aggregates by 'to_clipboard'; allowed are count"):
        FORMAT.dumps(hostile)


def test_a_million_workers_are_refused():
    from category_encoders import HashingEncoder

    hostile = make_pipeline(HashingEncoder(cols=["a"]), LogisticRegression())
    hostile[0].max_process = 10**6
    with pytest.raises(InvalidModelError, match=r"1000000 workers \(max_process\)"):
        FORMAT.dumps(hostile)
    with pytest.raises(InvalidModelError, match=r"workers \(n_jobs\)"):
        FORMAT.dumps(LogisticRegression(n_jobs=10**6))


def test_what_is_not_installed_is_said():
    with pytest.raises(InvalidModelError, match=r"not allowed: nowhere\.Thing"):
        read(node("nowhere.Thing", "ObjectNode"))
