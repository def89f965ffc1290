# One image for all parts of a deployment: Airflow's components, workers and the command line.
#
#   docker build -t diurnal .
#   docker build -t diurnal --build-arg REQUIREMENTS="lightgbm==4.6.0" .     further packages for your experiments
#   docker build -t diurnal --build-arg EXTRAS=spark .                       further extras of diurnal: spark
#
# Everything is installed at build time, from constraints.txt, and compiled to bytecode. A container downloads, writes
# and compiles nothing at its start, so its file system can be read-only.
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
    uv pip install --quiet -c constraints.txt -r pyproject.toml --extra airflow --extra deploy --extra excel --extra mlflow \
       --extra page --extra s3 --extra serving $(for extra in $EXTRAS; do echo --extra $extra; done)
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
# tini forwards signals and reaps orphaned processes of tasks; Java is installed for Spark only. The standard library has
# no bytecode in the base image; without this step it would be compiled at each start.
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
# With LOGNAME and HOME, the image runs under any user id, also one that is not in /etc/passwd.
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
