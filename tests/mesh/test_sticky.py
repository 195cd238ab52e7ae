"""Bindings of sessions: bounded, idle ones end, two callers never share one."""

from hearthnet.mesh.sticky import SESSIONS_MAX, StickySessions


def test_a_binding_ends_after_ten_idle_minutes_and_use_prolongs_it():
    sessions, entry = StickySessions(), object()
    sessions.bind(("a", "s", "llm.chat@1.0"), entry, 0.0)
    assert sessions.find(("a", "s", "llm.chat@1.0"), 599.0) is entry
    assert sessions.find(("a", "s", "llm.chat@1.0"), 1199.0) is entry
    assert sessions.find(("a", "s", "llm.chat@1.0"), 1800.0) is None
    assert len(sessions) == 0


def test_the_same_id_of_another_caller_is_another_session():
    sessions = StickySessions()
    sessions.bind(("a", "s", "llm.chat@1.0"), object(), 0.0)
    assert sessions.find(("b", "s", "llm.chat@1.0"), 0.0) is None


def test_binding_sweeps_what_is_idle_and_never_keeps_more_than_the_maximum():
    sessions = StickySessions()
    for number in range(SESSIONS_MAX + 50):
        sessions.bind(("a", str(number), "x"), object(), 0.0)
    assert len(sessions) == SESSIONS_MAX
    assert sessions.find(("a", "0", "x"), 0.0) is None
    sessions.bind(("a", "new", "x"), object(), 601.0)
    assert len(sessions) == 1


def test_an_entry_that_leaves_takes_its_sessions_along():
    sessions, leaving, staying = StickySessions(), object(), object()
    sessions.bind(("a", "1", "x"), leaving, 0.0)
    sessions.bind(("a", "2", "x"), staying, 0.0)
    sessions.release(leaving)
    assert sessions.find(("a", "1", "x"), 0.0) is None
    assert sessions.find(("a", "2", "x"), 0.0) is staying
