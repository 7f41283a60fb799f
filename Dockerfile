# One image: the GPU stack, which without a card trains the tiny recipe on the CPU.
#
#   docker build -t onecard .
#   docker run --rm --gpus all --init -v ./runs:/onecard/runs -v hf-cache:/cache/huggingface onecard recipes/gsm8k-qwen2.5-1.5b.yaml
#
# compose.yaml has the same as `docker compose run train recipes/...`, with TensorBoard beside it.
FROM debian:bookworm-slim

LABEL org.opencontainers.image.title="Onecard" \
      org.opencontainers.image.description="Train a reasoning model with GRPO on one consumer GPU" \
      org.opencontainers.image.licenses="Apache-2.0 AND LGPL-3.0-or-later AND AGPL-3.0-only"

# Triton compiles a small C file against Python's headers at run time and links it with -lcuda. The driver that the container
# runtime mounts brings libcuda.so.1; the name that a linker looks for is made here, and points to nothing without --gpus.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3.11 python3.11-venv python3.11-dev gcc libc6-dev ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && ln -s /usr/lib/x86_64-linux-gnu/libcuda.so.1 /usr/local/lib/libcuda.so

ENV PATH=/venv/bin:$PATH \
    LIBRARY_PATH=/usr/local/lib \
    PYTHONUNBUFFERED=1 \
    HOME=/home/onecard \
    USER=onecard \
    HF_HOME=/cache/huggingface \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

# The lock changes seldom and is 10 GB: a layer of its own, before the code.
COPY requirements.txt /tmp/requirements.txt
RUN python3.11 -m venv /venv \
    && pip install --no-cache-dir --no-deps --require-hashes --requirement /tmp/requirements.txt \
    && rm /tmp/requirements.txt

# Not root. The folders that are written are open to any user, so that `--user $(id -u)` works too.
RUN useradd --uid 1000 --create-home onecard \
    && mkdir -p /onecard/runs /cache/huggingface \
    && chown -R onecard /onecard /cache/huggingface \
    && chmod 1777 /home/onecard /onecard /onecard/runs /cache/huggingface
COPY . /onecard
WORKDIR /onecard
USER onecard
VOLUME ["/onecard/runs", "/cache/huggingface"]

# In exec form, so that `docker stop`'s SIGTERM reaches Python.
ENTRYPOINT ["python", "train.py"]
CMD ["--help"]
