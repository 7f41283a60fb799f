"""A 16-bit model as a GGUF file, with the llama.cpp that somebody has built."""

import json
import os
from pathlib import Path

from onecard.files.atomic import write_atomic
from onecard.types import UserError

WRITTEN_DIRECTLY = ("bf16", "f16", "q8_0")  # by llama.cpp's converter; others are quantized after


def convert_to_gguf(weights: Path, file: Path, quantization: str, llama_cpp: Path) -> None:
    """Write the 16-bit model in the folder `weights` as the GGUF `file`.

    Not by Unsloth's save_pretrained_gguf but by what that calls: it needs no card, merges nothing
    again, writes nowhere else, and reads back what was converted. Raises UserError with llama.cpp's
    reason.
    """
    import onecard.model.load  # noqa: F401  isort: skip  (unsloth, before unsloth_zoo)
    from unsloth_zoo import llama_cpp as tools

    tell_byte_level(weights / "tokenizer.json")
    # Else a failing converter has pip install other packages into this environment.
    os.environ["UNSLOTH_AUTO_INSTALL"] = "0"
    direct = quantization in WRITTEN_DIRECTLY
    try:
        quantizer, converter = tools.check_llama_cpp(str(llama_cpp))
        converted = file if direct else file.with_suffix(".unquantized.gguf")
        tools.convert_to_gguf(
            str(converted),
            str(weights),
            quantization_type=quantization if direct else "bf16",
            converter_location=converter,
        )
        if not direct:
            tools.quantize_gguf(
                str(converted), str(file), quantization, quantizer, print_output=False
            )
            converted.unlink()
    # RuntimeError for what llama.cpp says, and whatever Python raises on the way to it.
    except Exception as error:
        raise UserError(
            f"llama.cpp in {llama_cpp} did not convert the model: {reason_of(error)}"
        ) from error


def tell_byte_level(file: Path) -> None:
    """Have the converter take a byte-level tokenizer for what it is.

    Where one says `byte_fallback` as well, the converter takes it for a SentencePiece one, and
    llama.cpp then fails at the first line break. It does nothing in a tokenizer whose characters
    are bytes.
    """
    if not file.is_file():
        return
    tokenizer = json.loads(file.read_text(encoding="utf-8"))
    before = tokenizer.get("pre_tokenizer") or {}
    kinds = [part.get("type") for part in (before, *before.get("pretokenizers", []))]
    if "ByteLevel" in kinds and tokenizer["model"].get("byte_fallback"):
        tokenizer["model"]["byte_fallback"] = False
        write_atomic(file, json.dumps(tokenizer, ensure_ascii=False))


def reason_of(error: Exception) -> str:
    """The line of an error that says what was wrong: the end of a traceback, where there is one."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    for line in reversed(lines):
        if "Error: " in line:
            return line
    return lines[0] if lines else type(error).__name__
