# All of cxr with PyTorch for CUDA, whose libraries come with PyTorch's wheels. From the repository's folder:
#   docker build -f containers/train.Dockerfile -t cxr-train .
#   docker run --rm --init --gpus all -v /data/nih:/data/nih:ro -v "$PWD/work:/work" cxr-train \
#     train nih_densenet121 data.root=/data/nih
FROM python:3.11-slim-bookworm AS build
ARG EXTRAS=dicom,tensorboard
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY configs configs
COPY src src
# pip compiles, and passes over a file for a newer Python, of which PyTorch has one
RUN python -m venv --without-pip /opt/cxr \
    && python -m pip --python /opt/cxr/bin/python install --compile -c constraints.txt ".[${EXTRAS}]"

FROM python:3.11-slim-bookworm
RUN groupadd --system --gid 10001 cxr \
    && useradd --system --uid 10001 --gid cxr --no-create-home --home-dir /tmp --shell /usr/sbin/nologin cxr \
    && install -d -o cxr -g cxr /work /weights
COPY --from=build /opt/cxr /opt/cxr
# published weights are kept in /weights, which may be a volume
ENV PATH=/opt/cxr/bin:$PATH HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib TORCH_HOME=/weights PYTHONDONTWRITEBYTECODE=1
WORKDIR /work
USER 10001:10001
# a training has no port that could be asked; its log says how it is
HEALTHCHECK NONE
ENTRYPOINT ["cxr"]
CMD ["--help"]
