# cxr predict and cxr serve of an exported model.onnx, on CPUs, without PyTorch. From the repository's folder:
#   docker build -f containers/predict.Dockerfile -t cxr-predict .
#   docker run --rm --network none --read-only --tmpfs /tmp -v "$PWD:/work" cxr-predict predict model.onnx chest.png
# The version of Python is that of the tests.
FROM python:3.11-slim-bookworm AS build
ARG EXTRAS=dicom,serve
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY constraints.txt ./
COPY packages packages
COPY src src
# without pip in it, and without the tests of packages; compiled here, as the container's disk is read-only
RUN python -m venv --without-pip /opt/cxr \
    && python -m pip --python /opt/cxr/bin/python install --no-compile -c constraints.txt \
       "./packages/cxr-onnx[${EXTRAS}]" \
    && find /opt/cxr/lib -type d -name tests -prune -exec rm -r {} + \
    && /opt/cxr/bin/python -m compileall -q /opt/cxr/lib

FROM python:3.11-slim-bookworm
RUN groupadd --system --gid 10001 cxr \
    && useradd --system --uid 10001 --gid cxr --no-create-home --home-dir /tmp --shell /usr/sbin/nologin cxr
COPY --from=build /opt/cxr /opt/cxr
COPY containers/health.py /opt/cxr/health.py
# onnxruntime would keep a file of telemetry; cxr turns that off too
ENV PATH=/opt/cxr/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 ORT_DISABLE_TELEMETRY=1
WORKDIR /work
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 CMD ["python", "/opt/cxr/health.py"]
ENTRYPOINT ["cxr"]
CMD ["--help"]
