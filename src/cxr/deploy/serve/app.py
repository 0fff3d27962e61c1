"""The endpoints, with their description in OpenAPI."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from cxr import __version__
from cxr.deploy.runtime import Runtime
from cxr.deploy.serve import counters
from cxr.deploy.serve.answers import ExplainAnswer, Health, ModelAnswer, PredictAnswer, Problem
from cxr.deploy.serve.guard import PAGE, Access, Guard
from cxr.deploy.serve.limits import RETRY_SECONDS, Admission, Limits, RefusedError
from cxr.deploy.serve.model import Model
from cxr.deploy.serve.service import Service
from cxr.deploy.serve.upload import read_one, read_upload
from cxr.text import DISCLAIMER

_FOLDER = Path(__file__).parent / "page"
_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_IMAGE = {"schema": {"type": "string", "format": "binary"}}
_FORM = {"schema": {
    "type": "object",
    "required": ["files"],
    "properties": {"files": {"type": "array", "items": {"type": "string", "format": "binary"}}},
}}  # fmt: skip
_BODY: dict[str, object] = {
    "requestBody": {
        "required": True,
        "description": "One image as the body, or a form with several. Names of files are not kept.",
        "content": {"application/octet-stream": _IMAGE, "multipart/form-data": _FORM},
    }
}
_ONE_BODY: dict[str, object] = {
    "requestBody": {"required": True, "content": {"application/octet-stream": _IMAGE}}
}
_Answers = dict[int | str, dict[str, object]]
_OPEN: _Answers = {
    421: {"model": Problem, "description": "The server has another name."},
    503: {"model": Problem, "description": "Busy: Retry-After says when to come again."},
}
"""What every endpoint may answer besides."""
_GUARDED: _Answers = {401: {"model": Problem, "description": "The token is missing or wrong."}, **_OPEN}
_READY: _Answers = _OPEN | {
    503: {"model": Health, "description": "Busy: Retry-After says when to come again."}
}
_REFUSALS: _Answers = {
    400: {"model": Problem, "description": "No image, more than one where one is taken, or a damaged form."},
    403: {"model": Problem, "description": "A page of another origin asks."},
    408: {"model": Problem, "description": "The upload did not arrive in time."},
    413: {"model": Problem, "description": "Too many bytes or images."},
    422: {"model": Problem, "description": "The image cannot be read."},
    **_GUARDED,
}


class Server:
    """The application and what it counts.

    Attributes:
        app: To be called as ASGI has it.
        service: The model at work.
        admission: What is held of uploads.
        requests: What was asked until now.
    """

    def __init__(self, model: Model, runtime: Runtime, limits: Limits, access: Access) -> None:
        self.service = Service(model, runtime, limits)
        self.admission = Admission(limits)
        self.requests = counters.Requests()
        self.is_ready = False
        endpoints = self._make_app()
        paths = frozenset(getattr(route, "path", "") for route in endpoints.routes)
        self.app = Guard(endpoints, access, limits, self.requests, paths)

    @asynccontextmanager
    async def _live(self, _: FastAPI) -> AsyncIterator[None]:
        work = asyncio.create_task(self.service.batcher.run())
        self.is_ready = True
        try:
            yield
        finally:
            self.is_ready = False
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work
            self.service.reader.stop()

    def _make_app(self) -> FastAPI:
        # FastAPI's pages of the endpoints load scripts from elsewhere; the description itself does not
        app = FastAPI(title="cxr serve", version=__version__, description=DISCLAIMER, lifespan=self._live,
                      docs_url=None, redoc_url=None)  # fmt: skip
        app.post("/predict", responses=_REFUSALS, openapi_extra=_BODY)(self.predict)
        app.post("/explain", response_model=ExplainAnswer, responses=_REFUSALS,
                 openapi_extra=_ONE_BODY)(self.explain)  # fmt: skip
        app.post("/render", response_class=Response, responses=_REFUSALS,
                 openapi_extra=_ONE_BODY)(self.render)  # fmt: skip
        app.get("/model", responses=_GUARDED)(self.describe)
        app.get("/healthz", responses=_OPEN)(self.tell_health)
        app.get("/readyz", response_model=Health, responses=_READY)(self.tell_readiness)
        app.get("/metrics", response_class=Response, responses=_GUARDED)(self.tell_numbers)
        for path in _FOLDER.iterdir():
            if path.suffix in _KINDS:
                _add_file(app, path)
        app.exception_handler(RefusedError)(_answer_refused)
        app.exception_handler(RequestValidationError)(_answer_invalid)
        app.exception_handler(HTTPException)(_answer_other)
        app.exception_handler(ClientDisconnect)(_answer_gone)
        app.exception_handler(Exception)(_answer_failed)
        return app

    async def predict(
        self,
        request: Request,
        together: bool = Query(False, description="Images without a DICOM study are one study."),
    ) -> PredictAnswer:
        """Probabilities of each image, and of each study."""
        with self.admission.admit() as held:
            images = await read_upload(request.stream(), request.headers, held, self.service.limits)
            return await self.service.predict(images, together)

    async def explain(
        self,
        request: Request,
        form: Literal["numbers", "png"] = Query("numbers", alias="format"),
        finding: str = Query("", max_length=200, description="Of the PNG."),
    ) -> ExplainAnswer | Response:
        """Heat maps of one image: the numbers of all findings, or a PNG of one."""
        with self.admission.admit() as held:
            image = await read_one(request.stream(), request.headers, held, self.service.limits)
            if form == "numbers":
                return await self.service.explain(image)
            return Response(await self.service.draw(image, finding), media_type="image/png")

    async def render(self, request: Request) -> Response:
        """PNG of one image in grey, upright, as the model reads it; at most 2048 pixels a side."""
        with self.admission.admit() as held:
            image = await read_one(request.stream(), request.headers, held, self.service.limits)
            return Response(await self.service.render(image), media_type="image/png")

    async def describe(self) -> ModelAnswer:
        """Facts of the model: findings, operating points, what is known of them on the test set, limits."""
        return self.service.describe_model()

    async def tell_health(self) -> Health:
        """Whether the server lives."""
        return Health(status="ok")

    async def tell_readiness(self) -> Response:
        """Whether it takes uploads now: 503 where it does not."""
        limits = self.admission.limits
        if self.is_ready and self.admission.num_requests < limits.max_requests:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "busy"}, 503, {"Retry-After": str(RETRY_SECONDS)})

    async def tell_numbers(self) -> Response:
        """Numbers about the server, for Prometheus."""
        text = counters.render(self.requests, self.service, self.admission)
        return Response(text, media_type=counters.KIND)


def _add_file(app: FastAPI, path: Path) -> None:
    """Serve one file of the page, read now: no name that a client sends is looked up on the disk."""
    content, kind = path.read_bytes(), _KINDS[path.suffix]

    async def send() -> Response:
        return Response(content, media_type=kind)

    address = "/" if path.name == "index.html" else PAGE + path.name
    app.get(address, include_in_schema=False)(send)


def _problem(status: int, problem: str, hint: str = "", allowed: str = "") -> JSONResponse:
    headers = {"Retry-After": str(RETRY_SECONDS)} if status == 503 else {}
    headers |= {"Allow": allowed} if allowed else {}
    return JSONResponse({"error": problem, "hint": hint}, status, headers)


async def _answer_refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return _problem(error.status, error.problem, error.hint)


async def _answer_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    names = ", ".join(str(problem["loc"][-1]) for problem in error.errors())
    return _problem(422, f"{names}: not a value that is known", "/openapi.json lists the values")


async def _answer_other(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    allowed = (error.headers or {}).get("Allow", "")  # of the status 405
    allowed = "GET, HEAD" if allowed == "GET" else allowed
    return _problem(error.status_code, error.detail.lower(), "/openapi.json lists the endpoints", allowed)


async def _answer_gone(_: Request, _error: Exception) -> Response:
    return Response(status_code=499)  # as nginx counts a client that has gone; nobody reads it


async def _answer_failed(_: Request, _error: Exception) -> Response:
    return _problem(500, "internal error")
