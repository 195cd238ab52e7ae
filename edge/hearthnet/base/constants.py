"""Constants of the protocol (protocol.md, "Constants"); names and numbers are the specification's.

Units stand in the name. Only constants that some module reads are listed here; the others join with it.
"""

from __future__ import annotations

from typing import Final

CONTRACT_VERSIONS: Final = ("1.0",)

# ports (decision 25)
UI_PORT: Final = 7860
TRANSPORT_PORT: Final = 7080

# calls (X01, M03)
RPC_DEFAULT_TIMEOUT_S: Final = 30.0
LLM_GENERATION_DEFAULT_TIMEOUT_S: Final = 120.0
FRESHNESS_WINDOW_S: Final = 60
STREAM_WINDOW_FRAMES: Final = 16
STREAM_ACK_INTERVAL_FRAMES: Final = 8
STREAM_ACK_TIMEOUT_S: Final = 5.0
CANCEL_WITHIN_S: Final = 0.2
CONNECTION_IDLE_S: Final = 60.0
RECONNECT_BACKOFF_FIRST_S: Final = 0.5  # the specification names the cap only
RECONNECT_BACKOFF_CAP_S: Final = 30.0
WEBSOCKET_PING_S: Final = 30.0
WEBSOCKET_IDLE_CLOSE_S: Final = 120.0
PUBSUB_WAIT_S: Final = 30.0
HEALTH_WINDOW_CALLS: Final = 100
HEALTH_MIN_SAMPLES: Final = 10  # the specification omits a minimum; fewer samples never quarantine
HEALTH_QUARANTINE_THRESHOLD: Final = 0.5
HEALTH_QUARANTINE_S: Final = 60.0
LOCAL_LOAD_THRESHOLD: Final = 0.80
CANDIDATE_SEEN_WITHIN_S: Final = 60.0
STICKY_IDLE_TTL_S: Final = 600.0
UNKNOWN_LATENCY_MS: Final = 500.0
LOCAL_SCORE_BONUS: Final = 50.0
FAILURE_SCORE_WEIGHT: Final = 1000.0
RATE_LIMIT_CAPABILITY_SOFT_RPS: Final = 10.0
RATE_LIMIT_CAPABILITY_HARD_RPS: Final = 100.0
RATE_LIMIT_TOTAL_SOFT_RPS: Final = 100.0
RATE_LIMIT_TOTAL_HARD_RPS: Final = 1000.0
TRACE_RING_BUFFER: Final = 10_000

# manifests (M01)
MANIFEST_TTL_S: Final = 30
MANIFEST_REPUBLISH_INTERVAL_S: Final = 20

# discovery (M02)
DISCOVERY_GROUP: Final = "239.255.42.42"
DISCOVERY_PORT: Final = 42424
DISCOVERY_UDP_INTERVAL_ACTIVE_S: Final = 5.0  # fewer than two peers, offline or emergency
DISCOVERY_UDP_INTERVAL_STABLE_S: Final = 30.0
PEER_UNSEEN_PRUNE_S: Final = 90.0
PEER_UNSEEN_PRUNE_OFFLINE_S: Final = 30.0

# events (X02)
EVENT_LOG_RETENTION_DAYS: Final = 30
SNAPSHOT_LAG_LAMPORT: Final = 1000
SNAPSHOTS_KEPT: Final = 7
EVENT_MAX_BYTES: Final = 65_536
LAMPORT_MAX_JUMP: Final = 1_000_000  # a received event may not lie further ahead (decision 8)

# blobs (M07)
CHUNK_SIZE_BYTES: Final = 262_144
BLOB_GC_DISK_THRESHOLD: Final = 0.80
BLOB_GC_DISK_TARGET: Final = 0.70
BLOB_MIN_FREE_BYTES: Final = 1_000_000_000

# library (M05, M11)
RAG_CHUNK_TOKENS: Final = 1000
RAG_CHUNK_OVERLAP_TOKENS: Final = 200
RAG_DEFAULT_K: Final = 5
RAG_MAX_K: Final = 20
EMBED_MAX_TEXTS: Final = 256
EMBED_MAX_CHARS: Final = 8192

# limits of what comes in
REQUEST_MAX_BYTES: Final = 1_048_576
UPLOAD_MAX_BYTES: Final = 64 * 1_048_576
JSON_MAX_DEPTH: Final = 32
QUESTION_MAX_CHARS: Final = 10_000

LOG_RETENTION_DAYS: Final = 14
