"""A class on one server: its code, who is in it, and what the teacher lets it do. Pure."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import unicodedata
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tessera_core.errors import InputError
from tessera_core.labels.model import clean_name

# Neither O nor 0, I, 1 nor L; no vowels, so that no code is a word.
ALPHABET = "BCDFGHJKMNPQRSTVWXZ23456789"
CODE_LENGTH = 6
MOST_MEMBERS = 200
NICKNAME_LENGTH = 24
# Of the word with which somebody comes back from another device; trying is limited (see joining).
_WORDS = (
    "acorn alder badger beech birch bramble clover curlew dipper dunnock elder falcon fern finch gorse hazel heather heron hornet "
    "ivy jackdaw kestrel lapwing larch linnet magpie maple marten meadow merlin mole nettle newt oak osprey otter owl peat pine "
    "plover poplar puffin rabbit raven reed robin rowan rush sedge shrew sorrel sparrow spruce starling stoat swallow swift teal "
    "thistle thrush vole walnut warbler willow wren yarrow yew"
)

Nickname = Annotated[str, Meta(min_length=1, max_length=NICKNAME_LENGTH)]


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody in a class.

    Attributes:
        nickname: as they typed it; unique in the class, see :func:`same_name`.
        person: key of the visitor that they are in their browser; see :class:`tessera_core.hosting.Person`.
        word: digest of the word with which they come back from another device.
        project: name of the folder of their project.
        joined: seconds since 1970.
        wrong: when a wrong word was given for them, seconds since 1970; the last ones.
    """

    nickname: Nickname
    person: str
    word: str
    project: str
    joined: float
    wrong: tuple[float, ...] = ()


class Classroom(msgspec.Struct, frozen=True, kw_only=True):
    """A class.

    Attributes:
        id: names it in files and projects.
        code: that learners type.
        name: of the class.
        teacher: key of the person who opened it.
        opened: seconds since 1970.
        start: name of the folder with the project that learners get a copy of.
        tasks: what is asked for, a sentence each.
        lesson: id of the lesson that learners do; empty where there is none.
        state: whether it is under way.
        locked: nobody else may join.
        paused: learners look at the front instead of at their pages.
        task: position of the task that all are at, if the teacher said so.
        said: a sentence that the teacher shows to all; empty where there is none.
        shown: nickname of the learner whose map all see; empty where none is.
        scores: whether the board and the projector show scores side by side.
        members: in the order of their coming.
    """

    id: str
    code: str
    name: Annotated[str, Meta(min_length=1, max_length=80)]
    teacher: str
    opened: float
    start: str
    tasks: tuple[Annotated[str, Meta(max_length=300)], ...] = ()
    lesson: str = ""
    state: Literal["open", "ended"] = "open"
    locked: bool = False
    paused: bool = False
    task: int | None = None
    said: Annotated[str, Meta(max_length=300)] = ""
    shown: str = ""
    scores: bool = False
    members: Annotated[tuple[Member, ...], Meta(max_length=MOST_MEMBERS)] = ()

    def member(self, nickname: str) -> Member | None:
        """The one of that name, see :func:`same_name`; of two that older versions let in, the one that is spelt so."""
        wanted = same_name(nickname)
        found = [one for one in self.members if same_name(one.nickname) == wanted]
        return next((one for one in found if one.nickname == nickname), found[0] if found else None)

    def of_person(self, person: str) -> Member | None:
        """Whoever uses this browser; the last one where several joined from it."""
        return next((one for one in reversed(self.members) if person and one.person == person), None)

    def with_member(self, member: Member) -> Classroom:
        """With a member, in place of the one of that name."""
        before = self.member(member.nickname)
        at = len(self.members) if before is None else self.members.index(before)
        return msgspec.structs.replace(self, members=(*self.members[:at], member, *self.members[at + 1 :]))


def new_code() -> str:
    """A code that is easily read out.

    >>> len(new_code())
    6
    """
    return "".join(secrets.choice(ALPHABET) for _ in range(CODE_LENGTH))


def typed_code(text: str) -> str:
    """A code as somebody typed it: small letters, spaces and dashes do not matter.

    >>> typed_code(" bcd-f23 ")
    'BCDF23'
    """
    return "".join(letter for letter in text.upper() if letter.isalnum())[:32]


def shown_code(code: str) -> str:
    """A code as it is shown: in two halves.

    >>> shown_code("BCDF23")
    'BCD F23'
    """
    return f"{code[: CODE_LENGTH // 2]} {code[CODE_LENGTH // 2 :]}"


def checked_nickname(text: str) -> str:
    """A nickname as it is kept.

    Raises:
        InputError: it is empty, too long, or has nothing that can be read out.

    >>> checked_nickname("  Ada   L. ")
    'Ada L.'
    """
    name = clean_name("".join(letter if letter.isprintable() else " " for letter in text), 4 * NICKNAME_LENGTH)
    # An accent may come as a sign of its own from another keyboard; the name is the same.
    name = unicodedata.normalize("NFC", name)
    if not any(letter.isalnum() for letter in name):
        raise InputError("Type a name with at least one letter or number, so that your teacher knows who you are.")
    if len(name) > NICKNAME_LENGTH:
        raise InputError(f"That name is too long; {NICKNAME_LENGTH} letters are the most. Type a shorter one.")
    return name


def same_name(nickname: str) -> str:
    """What two spellings of one nickname share, whatever the capitals and whether accents are signs of their own.

    >>> same_name("Jos\u00e9") == same_name("JOSE\u0301")
    True
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", nickname).casefold())


def new_word() -> str:
    """A word to come back with, such as ``"heron 42"``."""
    return f"{secrets.choice(_WORDS.split())} {secrets.randbelow(90) + 10}"


def word_digest(class_id: str, nickname: str, word: str) -> str:
    """What is kept of a word; of a member, the nickname is exactly as it is kept (older versions kept accents apart)."""
    plain = "".join(word.casefold().split())
    return hashlib.scrypt(
        plain.encode(), salt=f"{class_id}\n{nickname.casefold()}".encode(), n=2**12, r=8, p=1, dklen=24
    ).hex()


def is_word(class_id: str, member: Member, word: str) -> bool:
    """Whether somebody knows a member's word."""
    return hmac.compare_digest(word_digest(class_id, member.nickname, word), member.word)
