"""The official OpenAI client talks to the box; only the base address changes."""

import os

from openai import OpenAI

BOX = os.environ.get("HEARTHNET_URL", "http://127.0.0.1:7860")
client = OpenAI(base_url=f"{BOX}/v1", api_key=os.environ.get("HEARTHNET_TOKEN", "unused-on-this-machine"))
print([model.id for model in client.models.list()])
answer = client.chat.completions.create(
    model="hearthnet", messages=[{"role": "user", "content": "Wie lange muss Wasser kochen?"}]
)
print(answer.choices[0].message.content)
