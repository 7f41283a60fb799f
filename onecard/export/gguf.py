"""The merged model as one GGUF file, for llama.cpp and what is built on it, such as Ollama and LM
Studio.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from onecard.console.display import Display
from onecard.export.merged import Drift, write_merged
from onecard.model.llama_cpp import convert_to_gguf
from onecard.run.library_output import redirect_output
from onecard.target import Target
from onecard.types import UserError

# Of Unsloth's; without those that lose much.
QUANTIZATIONS = ("q4_k_m", "q4_k_s", "q5_k_m", "q6_k", "q8_0", "bf16", "f16")
BUILD = (
    "git clone --depth 1 https://github.com/ggml-org/llama.cpp {folder} && cd {folder} && cmake -B"
    " build -DBUILD_SHARED_LIBS=OFF -DLLAMA_CURL=OFF && cmake --build build --target llama-quantize"
    " -j && cp build/bin/llama-quantize ."
)


def find_llama_cpp() -> Path:
    """The folder where Unsloth too looks for llama.cpp. Raises UserError unless it is built there:
    Unsloth would fetch and build it itself, and call apt-get and sudo for what that needs; we say
    what to type instead."""
    folder = Path(os.environ.get("UNSLOTH_LLAMA_CPP_PATH") or Path.home() / ".unsloth/llama.cpp")
    quantizer = folder / "llama-quantize"
    missing = [
        str(file.relative_to(folder))
        for file in (quantizer, folder / "convert_hf_to_gguf.py")
        if not file.is_file()
    ]
    if missing:
        raise UserError(
            f"GGUF needs llama.cpp, and {folder} has no {' and no '.join(missing)};"
            " UNSLOTH_LLAMA_CPP_PATH=FOLDER names one that has, and this makes one:"
            f" {BUILD.format(folder=folder)}"
        )
    if not os.access(quantizer, os.X_OK):
        raise UserError(f"{quantizer} is not executable; chmod +x {quantizer}")
    return folder


def write_gguf(
    target: Target, file: Path, quantization: str, llama_cpp: Path, display: Display
) -> Drift:
    """Merge, checked as `merged` is, and write the merged model as a GGUF file; the merged folder
    itself is not kept.
    """
    with TemporaryDirectory(dir=file.parent) as temporary:
        # the converter writes the name of the folder into the file
        merged = Path(temporary) / file.name.partition(".")[0]
        merged.mkdir()
        drift = write_merged(target, merged, display)
        display.say(f"converting to GGUF, {quantization}")
        # Unsloth prints as it is imported; a failure is told by the error.
        with redirect_output(Path(temporary)):
            convert_to_gguf(merged, file, quantization, llama_cpp)
    with file.open("rb") as content:
        if content.read(4) != b"GGUF":
            raise UserError(
                f"what llama.cpp wrote, {file.name}, is not a GGUF file; nothing was kept"
            )
    return drift
