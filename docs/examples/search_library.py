"""Search the handbook: passages with their scores, no model needed."""

import json
import os
import urllib.request

BOX = os.environ.get("HEARTHNET_URL", "http://127.0.0.1:7860")
body = {"params": {"corpus": "system"}, "input": {"query": "freezer without power", "k": 3}}
request = urllib.request.Request(
    f"{BOX}/v1/call/rag.query@1.0", json.dumps(body).encode(), {"Content-Type": "application/json"}
)
with urllib.request.urlopen(request) as reply:
    for chunk in json.load(reply)["output"]["chunks"]:
        print(chunk["rank"], round(chunk["score"], 3), chunk["metadata"]["doc_title"])
