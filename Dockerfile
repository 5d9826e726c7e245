# One image for the API, the worker and the migrations:
#   docker run … audience-export                              the API on port 8000
#   docker run … audience-export python -m workers            a worker
#   docker run … audience-export alembic upgrade head         the schema
# For a reproducible build pin the base by digest: python:3.14-slim@sha256:<digest of your mirror>
ARG BASE=python:3.14-slim

FROM ${BASE} AS build
WORKDIR /service
RUN python -m venv /venv
COPY requirements.txt ./
RUN /venv/bin/pip install --no-cache-dir --require-hashes -r requirements.txt
COPY . .
RUN /venv/bin/pip install --no-cache-dir hatchling \
    && /venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
    && /venv/bin/pip uninstall --yes hatchling pathspec trove-classifiers

FROM ${BASE}
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN useradd --system --uid 10001 --no-create-home service
COPY --from=build /venv /venv
WORKDIR /service
COPY alembic.ini ./
COPY migrations migrations
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
CMD ["uvicorn", "app.main:app", "--host", "0.0.0.0", "--port", "8000", "--no-server-header"]
