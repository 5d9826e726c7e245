# One image for the API, the worker and the migrations:
#   docker run … audience-export                              the API on port 8000
#   docker run … audience-export python -m workers            a worker (--no-healthcheck; its probes are on port 8001)
#   docker run … audience-export alembic upgrade head         the schema
# It writes nothing: run it with --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges.
# For a reproducible build pin the base by digest: python:3.14-slim@sha256:<digest of your mirror>
ARG BASE=python:3.14-slim

FROM ${BASE} AS build
WORKDIR /service
RUN python -m venv /venv && python -m venv /building
COPY requirements.txt requirements-build.txt ./
RUN /venv/bin/pip install --no-cache-dir --require-hashes -r requirements.txt \
    && /building/bin/pip install --no-cache-dir --require-hashes -r requirements-build.txt
COPY . .
# The wheel is made elsewhere, and pip has no business in the result.
RUN /building/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /venv/bin/pip install --no-cache-dir --no-deps --no-index /wheels/*.whl \
    && /venv/bin/pip uninstall --yes pip

FROM ${BASE}
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin service
COPY --from=build /venv /venv
# A worker tells Prometheus and probes how it is on a port of its own.
ENV WORKER_METRICS_HOST=0.0.0.0 WORKER_METRICS_PORT=8001
WORKDIR /service
COPY alembic.ini ./
COPY migrations migrations
USER 10001:10001
EXPOSE 8000 8001
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
CMD ["uvicorn", "app.main:app", "--host", "0.0.0.0", "--port", "8000", "--no-server-header"]
