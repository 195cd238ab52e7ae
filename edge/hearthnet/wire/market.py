"""Posts on the community's board: offers, requests, information, emergencies (M06)."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, Struct

from hearthnet.wire.field import ClientIdField, UlidField

POST_TTL_DEFAULT_S: Final = 604_800
POST_TTL_MAX_S: Final = 2_592_000
TITLE_MAX_CHARS: Final = 120
BODY_MAX_CHARS: Final = 4000
TAGS_MAX: Final = 10

Category: TypeAlias = Literal["offer", "request", "info", "emergency"]
ClosingReason: TypeAlias = Literal["fulfilled", "withdrawn", "user_request", "stale", "moderated"]
TitleField = Annotated[str, Meta(min_length=1, max_length=TITLE_MAX_CHARS, pattern=r"\S")]
BodyField = Annotated[str, Meta(max_length=BODY_MAX_CHARS)]
TagsField = Annotated[
    tuple[Annotated[str, Meta(min_length=1, max_length=32, pattern=r"^\S(.*\S)?$")], ...], Meta(max_length=TAGS_MAX)
]
TtlField = Annotated[int, Meta(ge=60, le=POST_TTL_MAX_S)]


class Place(Struct, frozen=True, forbid_unknown_fields=True):
    """Where something is: a name that neighbours understand, coordinates if wanted (WGS 84, degrees)."""

    label: Annotated[str, Meta(max_length=120)] = ""
    lat: Annotated[float, Meta(ge=-90, le=90)] | None = None
    lng: Annotated[float, Meta(ge=-180, le=180)] | None = None


class PostCreated(Struct, frozen=True, forbid_unknown_fields=True):
    """A post; `client_id` makes sending it twice one post."""

    client_id: ClientIdField
    category: Category
    title: TitleField
    body: BodyField
    location: Place | None = None
    tags: TagsField = ()
    ttl_seconds: TtlField = POST_TTL_DEFAULT_S


class PostFields(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an edit changes; what is absent stays."""

    category: Category | None = None
    title: TitleField | None = None
    body: BodyField | None = None
    location: Place | None = None
    tags: TagsField | None = None
    ttl_seconds: TtlField | None = None  # from the edit on


class PostUpdated(Struct, frozen=True, forbid_unknown_fields=True):
    """The author edits an own post."""

    client_id: ClientIdField
    target_event_id: UlidField
    fields: PostFields


class PostExpired(Struct, frozen=True, forbid_unknown_fields=True):
    """A post is over: by its author for any reason, by a trusted member as stale or moderated."""

    client_id: ClientIdField
    target_event_id: UlidField
    reason: ClosingReason
