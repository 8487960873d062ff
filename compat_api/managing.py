"""What changes models and does not stream: copies, removals, files that are sent. DRF views of the native API."""

from __future__ import annotations

from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from compat_api import key_bounds
from compat_api.ollama import create as ollama
from compat_api.ollama import pull
from compat_api.wire_view import WireView
from registry import blobs, pulls, removal


class CopyView(WireView):
    """POST /api/copy: an empty answer."""

    def post(self, request: Request) -> HttpResponse:
        asked = ollama.parse_copy(self.body_of(request))
        self.log.model = asked.source
        key_bounds.check_names(self.key, asked.source, asked.destination)
        removal.copy(asked.source, asked.destination)
        return HttpResponse(content_type="text/plain")


class DeleteView(WireView):
    """DELETE /api/delete, with a body: an empty answer."""

    def delete(self, request: Request) -> HttpResponse:
        name = ollama.parse_delete(self.body_of(request))
        self.log.model = name
        key_bounds.check_names(self.key, name)
        removal.remove(name)
        return HttpResponse(content_type="text/plain")


class CancelPullView(WireView):
    """DELETE /api/pull: the pull of that name ends, whoever asked for it, and what has arrived is removed."""

    def delete(self, request: Request) -> Response:
        name = pull.parse_cancel(self.body_of(request))
        self.log.model = name
        key_bounds.check_names(self.key, name)
        active = pulls.active_of(name) or pulls.active_of_text(name)
        try:
            if active is None:
                raise pulls.NotActive
            pulls.cancel(active)
        except pulls.NotActive:
            return Response({"error": f"no pull of {name!r} is under way"}, 404)
        return Response({"cancelled": 1})


class BlobView(WireView):
    """HEAD asks for a file by its sha256, POST sends it; its body is on disk by the time we are asked."""

    def head(self, request: Request, id: str) -> HttpResponse:
        found = blobs.find(blobs.parse_digest(id))
        return HttpResponse(status=200 if found else 404, content_type="text/plain")

    def post(self, request: Request, id: str) -> HttpResponse:
        expected = blobs.parse_digest(id)
        new = blobs.keep(self.upload.path, self.upload.sha256, expected)
        return HttpResponse(status=201 if new else 200, content_type="text/plain")
