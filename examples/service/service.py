"""A student behind a web address: EXPORTED=shipped/onnx uvicorn service:app."""

import os
from typing import Annotated

from fastapi import Body, FastAPI, Request, responses

import asterism.runtime

model = asterism.runtime.load(os.environ.get("EXPORTED", "exported"))
app = FastAPI()


if model.contents.kind == "text":  # a text would be a path to a model of pictures

    @app.post("/embed")
    def embed(texts: list[str]) -> list[list[float]]:
        """Embed texts, sent as a JSON list."""
        return model.embed(texts).tolist()

else:

    @app.post("/predict")
    def predict(picture: Annotated[bytes, Body(media_type="image/*")]) -> dict[str, float]:
        """Name the likeliest classes of a picture: curl --data-binary @cat.jpg ADDRESS/predict."""
        return dict(model.predict(picture).top(5)[0])


@app.exception_handler(ValueError)
def refuse(request: Request, error: ValueError) -> responses.JSONResponse:
    """Answer what cannot be read with the reason."""
    return responses.JSONResponse({"error": str(error)}, status_code=400)
