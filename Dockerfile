# One image for the API, the worker and the migrations:
#   docker run … audience-export                              the API on port 8000
#   docker run … audience-export python -m workers            a worker (use --no-healthcheck; its health server is on port 8001)
#   docker run … audience-export alembic upgrade head         the schema
# The container writes no files: run it with --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges.
# For a reproducible build pin the base by digest: python:3.14-slim@sha256:<digest of your mirror>
ARG BASE=python:3.14-slim

FROM ${BASE} AS build
WORKDIR /service
RUN python -m venv /venv && python -m venv /building
COPY requirements.txt requirements-build.txt ./
RUN /venv/bin/pip install --no-cache-dir --require-hashes -r requirements.txt \
    && /building/bin/pip install --no-cache-dir --require-hashes -r requirements-build.txt
COPY . .
# Build the wheel in another environment, and leave pip out of the image.
RUN /building/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /venv/bin/pip install --no-cache-dir --no-deps --no-index /wheels/*.whl \
    && /venv/bin/pip uninstall --yes pip

FROM ${BASE}
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin service
COPY --from=build /venv /venv
# Where the worker serves /healthz, /readyz and /metrics.
ENV WORKER_METRICS_HOST=0.0.0.0 WORKER_METRICS_PORT=8001
WORKDIR /service
COPY alembic.ini ./
COPY migrations migrations
USER 10001:10001
EXPOSE 8000 8001
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
# Load balancers reuse an idle connection for up to 60 s (AWS', for instance): keep it open for longer, or a request meets
# one that is being closed, and is answered 502.
CMD ["uvicorn", "app.main:app", "--host", "0.0.0.0", "--port", "8000", "--no-server-header", "--timeout-keep-alive", "75"]
