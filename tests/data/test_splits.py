"""Which people are in train, and which in val."""

from hypothesis import given
from hypothesis import strategies as st

from faceanim_cli.data.journal import split_people

PEOPLE = [f"p{n}" for n in range(20)]


@given(st.lists(st.text(min_size=1), min_size=2, unique=True), st.floats(0.01, 0.9), st.integers(0, 9))
def test_both_sides_have_somebody(people, share, seed):
    splits = split_people(people, share, seed)
    assert set(splits) == set(people)
    assert set(splits.values()) == {"train", "val"}


def test_the_share_is_of_the_people_not_of_their_clips():
    splits = split_people(["p0"] * 500 + PEOPLE, 0.1, 0)
    assert list(splits.values()).count("val") == 2


def test_order_does_not_matter_and_the_seed_does():
    assert split_people(PEOPLE, 0.5, 1) == split_people(PEOPLE[::-1], 0.5, 1)
    assert split_people(PEOPLE, 0.5, 1) != split_people(PEOPLE, 0.5, 2)


def test_nobody_changes_sides_when_people_join():
    before = split_people(PEOPLE[:10], 0.2, 0)
    after = split_people(PEOPLE, 0.2, 0, before)
    assert before.items() <= after.items()
    assert list(after.values()).count("val") == 4


def test_nobody_is_in_val():
    assert set(split_people(PEOPLE, 0, 0).values()) == {"train"}
    assert split_people(["alone"], 0.5, 0) == {"alone": "train"}


def test_names_that_are_no_text_are_people_too():
    assert sorted(split_people(["caf\udce9", "anna"], 0.5, 0).values()) == ["train", "val"]
