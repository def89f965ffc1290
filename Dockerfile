# The image of every part of a deployment: Airflow's components, their workers, and the command line.
#
#   docker build -t diurnal .
#   docker build -t diurnal --build-arg REQUIREMENTS="lightgbm==4.6.0" .     further packages for your experiments
#   docker build -t diurnal --build-arg EXTRAS=spark .                       further extras of ours: spark
#
# Everything is installed here, from constraints.txt, and compiled to bytecode: at the start of a container nothing is
# fetched, written or compiled, so that its root may be read-only.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim-bookworm AS build
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never VIRTUAL_ENV=/opt/venv
WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE ./
RUN --mount=type=cache,target=/root/.cache \
    pip install --quiet --disable-pip-version-check --root-user-action=ignore -c constraints.txt uv \
    && uv venv --quiet /opt/venv
ARG EXTRAS=""
RUN --mount=type=cache,target=/root/.cache \
    uv pip install --quiet -c constraints.txt -r pyproject.toml --extra airflow --extra deploy --extra excel --extra s3 \
       $(for extra in $EXTRAS; do echo --extra $extra; done)
ARG REQUIREMENTS=""
RUN --mount=type=cache,target=/root/.cache \
    if [ -n "$REQUIREMENTS" ]; then uv pip install --quiet -c constraints.txt $REQUIREMENTS; fi
COPY src src
RUN --mount=type=cache,target=/root/.cache \
    uv pip install --quiet --no-deps --build-constraints constraints.txt .

FROM python:${PYTHON}-slim-bookworm
ARG EXTRAS=""
ARG VERSION=0.1.0.dev0
LABEL org.opencontainers.image.title="diurnal" \
      org.opencontainers.image.description="A daily retraining service on Apache Airflow" \
      org.opencontainers.image.source="https://github.com/diurnal-ml/diurnal" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
# tini passes signals on and reaps what tasks leave behind; Java is there only for Spark. The interpreter's own library
# comes without bytecode, which would be compiled at each start.
RUN apt-get update \
    && apt-get install -y --no-install-recommends tini \
       $(case " $EXTRAS " in *" spark "*) echo openjdk-17-jre-headless procps libnss-wrapper;; esac) \
    && rm -rf /var/lib/apt/lists/* \
    && python -m compileall -q -j 0 /usr/local/lib/python3* || test $? -eq 1 \
    && useradd --uid 50000 --gid 0 --home-dir /opt/airflow --no-create-home --shell /bin/bash airflow \
    && install -d -o airflow -g 0 -m 775 /opt/airflow $(printf '/opt/airflow/%s ' dags experiments data models logs)
COPY --from=build /opt/venv /opt/venv
COPY constraints.txt /opt/diurnal/constraints.txt
COPY --chmod=755 deploy/image/entrypoint deploy/image/health deploy/image/initialise /opt/diurnal/bin/
COPY deploy/image/airflow.cfg deploy/image/webserver_config.py /opt/airflow/
# LOGNAME and HOME make it run under any user id, also one that /etc/passwd does not know.
ENV PATH=/opt/venv/bin:/opt/diurnal/bin:$PATH \
    AIRFLOW_HOME=/opt/airflow \
    DIURNAL_PROJECT=/opt/airflow \
    HOME=/opt/airflow LOGNAME=airflow USER=airflow \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
WORKDIR /opt/airflow
USER 50000:0
EXPOSE 8080
ENTRYPOINT ["tini", "--", "entrypoint"]
CMD ["airflow", "version"]
