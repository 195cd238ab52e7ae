"""Ask the box and print the answer sentence by sentence, with the titles of its sources."""

import json
import os
import sys
import urllib.request

BOX = os.environ.get("HEARTHNET_URL", "http://127.0.0.1:7860")
question = " ".join(sys.argv[1:]) or "Is it safe to run a petrol generator in the cellar?"
body = {"params": {"model": "hearthnet"}, "input": {"messages": [{"role": "user", "content": question}]}}
request = urllib.request.Request(
    f"{BOX}/v1/call/llm.chat@1.0",
    json.dumps(body).encode(),
    {"Content-Type": "application/json", "Accept": "text/event-stream"},
)
with urllib.request.urlopen(request) as stream:
    for line in stream:
        if not line.startswith(b"data:"):
            continue
        frame = json.loads(line[5:])
        if frame["event"] == "token":
            print(frame["text"], *(f"[{number}]" for number in frame["cites"]))
        elif frame["event"] == "sources":
            titles = {source["number"]: source["title"] for source in frame["sources"]}
        elif frame["event"] == "done":
            print(f"({frame['tier']}, {frame['ms']} ms)", titles)
