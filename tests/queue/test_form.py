import pytest
from hypothesis import given
from hypothesis import strategies as st

from modabatchd.errors import FieldError
from modabatchd.queue.form import FIELDS, FILE_FIELDS, SubmissionForm, parse_form
from modabatchd.queue.indices import parse_indices
from modabatchd.queue.job import Resources


def test_no_fields_give_the_defaults():
    assert parse_form([]) == SubmissionForm()


def test_every_field_is_read():
    form = parse_form(
        [
            ("job-name", "night run"),
            ("job-arguments", "--fast 'two words' \"$(id)\" a\\ b"),
            ("job-notification", "https://example.org:8443/done?x=1"),
            ("request-cpus", "4"),
            ("request-memory", "2G"),
            ("request-disk", "10MiB"),
            ("request-gpus", "1"),
            ("job-priority", "-5"),
            ("job-environment", "PATH_TO=a=b"),
            ("job-environment", "EMPTY="),
            ("job-label", "team=blue"),
            ("max-wall-time", "15m"),
            ("max-retries", "3"),
            ("job-array", "1-3,9"),
        ]
    )
    assert form == SubmissionForm(
        name="night run",
        arguments=("--fast", "two words", "$(id)", "a b"),
        environment={"PATH_TO": "a=b", "EMPTY": ""},
        labels={"team": "blue"},
        notification="https://example.org:8443/done?x=1",
        resources=Resources(cpus=4, memory=2048, disk=10240, gpus=1),
        priority=-5,
        max_retries=3,
        max_wall_time=900,
        array=parse_indices("1-3,9"),
    )


def test_an_empty_field_counts_as_not_sent():
    assert parse_form([(field, "") for field in FIELDS if field not in FILE_FIELDS]) == SubmissionForm()


@pytest.mark.parametrize(
    ("value", "mebibytes"),
    [("100", 100), ("1K", 1), ("1025k", 2), ("1.5G", 1536), ("2GB", 2048), ("2 gib", 2048), ("1T", 1024**2), ("0.5", 1)],
)
def test_memory_is_in_mebibytes_rounded_up(value, mebibytes):
    assert parse_form([("request-memory", value)]).resources.memory == mebibytes


@pytest.mark.parametrize(("value", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("1d", 86400)])
def test_wall_time_takes_units(value, seconds):
    assert parse_form([("max-wall-time", value)]).max_wall_time == seconds


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("job-name", "x" * 256),
        ("job-name", "a\0b"),
        ("job-arguments", "'open"),
        ("job-arguments", 'say "hello'),
        ("job-arguments", "trailing\\"),
        ("job-notification", "ftp://example.org/"),
        ("job-notification", "example.org"),
        ("job-notification", "http://"),
        ("job-notification", "http://example.org:99999/"),
        ("job-notification", "http://[::1/"),
        ("job-notification", "http://me:secret@example.org/"),
        ("job-notification", "http://example.org/\r\nX: y"),
        ("job-notification", "javascript:alert(1)"),
        ("request-cpus", "0"),
        ("request-cpus", "1.5"),
        ("request-cpus", "1_0"),
        ("request-cpus", "٣"),
        ("request-cpus", "9" * 5000),
        ("request-memory", "many"),
        ("request-memory", "0"),
        ("request-memory", "-1G"),
        ("request-memory", "5000T"),
        ("request-memory", "1E9"),
        ("request-disk", "nan"),
        ("request-gpus", "-1"),
        ("job-priority", "high"),
        ("max-wall-time", "0"),
        ("max-wall-time", "1w"),
        ("max-retries", "101"),
        ("job-array", "9-1"),
        ("job-array", "1-5%2"),
        ("job-environment", "NOVALUE"),
        ("job-environment", "1A=x"),
        ("job-environment", "A B=x"),
        ("job-environment", "=x"),
        ("job-environment", "A;id=x"),
        ("job-environment", "MODACLOUDS_BATCH_OUTPUT=/tmp"),
        ("job-label", "flag"),
        ("job-label", "=x"),
    ],
)
def test_a_bad_value_names_its_field(field, value):
    with pytest.raises(FieldError) as caught:
        parse_form([(field, value)])
    assert caught.value.field == field
    assert caught.value.cure


@pytest.mark.parametrize(("field", "value"), [("job-arguments", "é" * 65536), ("job-environment", "A=" + "x" * 131070)])
def test_what_no_program_can_be_given_is_refused(field, value):
    with pytest.raises(FieldError, match="more than a program") as caught:
        parse_form([(field, value)])
    assert caught.value.field == field
    parse_form([(field, value[:-1])])


def test_an_unknown_field_suggests_the_one_meant():
    with pytest.raises(FieldError) as caught:
        parse_form([("job_nmae", "x")])
    assert caught.value.field == "job_nmae"
    assert "'job-name'" in caught.value.cure


def test_a_field_like_none_of_ours_lists_them_all():
    with pytest.raises(FieldError) as caught:
        parse_form([("zzzzzz", "x")])
    assert all(field in caught.value.cure for field in FIELDS)


@pytest.mark.parametrize("field", ["job-name", "request-cpus", "max-retries"])
def test_a_repeated_field_is_refused(field):
    with pytest.raises(FieldError, match="more than once"):
        parse_form([(field, "1"), (field, "1")])


@pytest.mark.parametrize("field", ["job-environment", "job-label"])
def test_a_repeated_name_is_refused(field):
    with pytest.raises(FieldError, match="more than once"):
        parse_form([(field, "A=1"), (field, "A=2")])


@given(st.sampled_from([field for field in FIELDS if field not in FILE_FIELDS]), st.text())
def test_whatever_is_sent_is_read_or_refused(field, value):
    try:
        assert isinstance(parse_form([(field, value)]), SubmissionForm)
    except FieldError as problem:
        assert problem.field == field


@given(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_environment_values_survive(value):
    assert parse_form([("job-environment", f"A={value}")]).environment == {"A": value}
