"""A reward server: the other end of the reward `http`.

    python examples/reward_server.py --port 8000

and in the recipe:

    rewards:
      - {name: http, url: "http://127.0.0.1:8000/score", weight: 1.0}

It is asked with {"version": 1, "completions": [{"completion": ..., "answer": ..., ...}, ...]} and
answers {"scores": [1.0, 0.0, ...]}, a number for each completion, in order; null where it does not
apply. rewards/judges/http.py has the whole form. Write your own idea into `score`.
"""

import argparse
import os
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

# With `key_from: REWARD_KEY` in the recipe, and the same value in both environments, nobody else
# is answered.
KEY = os.environ.get("REWARD_KEY")


def score(completion: dict[str, Any]) -> float:
    """What one completion is worth: here, whether its last word is the right answer."""
    words = completion["completion"].replace("</answer>", " ").replace("<answer>", " ").split()
    return float(bool(words) and words[-1] == completion["answer"])


async def score_all(request: Request) -> JSONResponse:
    if KEY and request.headers.get("Authorization") != f"Bearer {KEY}":
        return JSONResponse({"error": "wrong key"}, status_code=401)
    asked = await request.json()
    return JSONResponse({"scores": [score(one) for one in asked["completions"]]})


app = Starlette(routes=[Route("/score", score_all, methods=["POST"])])

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8000)
    uvicorn.run(app, host="127.0.0.1", port=parser.parse_args().port, log_level="warning")
