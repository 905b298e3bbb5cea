"""A stand-in for W&B's server, on the loopback, that can fall silent."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import wandb

VIEW = {
    "id": "VIEW",
    "type": "runs",
    "name": "n",
    "displayName": "d",
    "description": "",
    "project": {"id": "1", "name": "p", "entityName": "me"},
    "createdAt": "2020-01-01T00:00:00",
    "updatedAt": "2020-01-01T00:00:00",
    "spec": '{"version": 5, "panelSettings": {}, "blocks": [], "width": "fluid", "authors": [], '
    '"discussionThreads": [], "ref": {}}',
}
PROJECT = {"id": "1", "name": "p", "entityName": "me", "createdAt": "", "isBenchmark": False}
BUCKET = {"id": "1", "displayName": "d", "description": "", "config": "{}", "sweepName": None}
OWNER = {"id": "1", "name": "project", "entity": {"id": "1", "name": "me"}}


def answer(request):
    """The data of the answer to a GraphQL request."""
    query = request["query"]
    if "UpsertBucket" in query:
        bucket = {**BUCKET, "name": request["variables"]["name"], "project": OWNER}
        return {"upsertBucket": {"bucket": bucket, "inserted": True}}
    if "upsertView" in query:
        return {"upsertView": {"view": VIEW, "inserted": True}}
    if "GetProjects" in query:
        edges = [{"cursor": "", "node": {**PROJECT, "user": None}}]
        return {"models": {"edges": edges, "pageInfo": {"endCursor": None, "hasNextPage": False}}}
    if "viewer" in query:
        return {"viewer": {"id": "1", "entity": "me", "flags": "{}", "teams": {"edges": []}}}
    return {}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.speaking.wait()
        told = {}
        if self.path == "/graphql":
            request = json.loads(body)
            self.server.requests.append(request)
            told = answer(request)
        content = json.dumps({"data": told}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


class Server(ThreadingHTTPServer):
    """`requests` are those of GraphQL; while `speaking` is not set, it takes all and says nothing.

    A client that has hung up meanwhile is no error.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests = []
        self.speaking = threading.Event()
        self.speaking.set()

    def handle_error(self, request, client_address):
        pass


@pytest.fixture
def server(monkeypatch):
    """The server that W&B talks to, with a login."""
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{running.server_port}")
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        wandb.teardown()  # it reads the environment once
        yield running
        running.speaking.set()
        wandb.teardown()
        running.shutdown()
        thread.join()
