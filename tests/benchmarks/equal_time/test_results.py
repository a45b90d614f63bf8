import json

import pytest

from benchmarks.equal_time.results import StudyResult, append, missing, opened_results, read_results
from search.errors import InputError
from tests.benchmarks.equal_time.made_up_results import made_up_result


def written(path, *results):
    with opened_results(path) as file:
        for result in results:
            append(file, result)
    return path


def test_results_are_read_as_they_were_written(tmp_path):
    results = [made_up_result(), made_up_result("tpe", 3, accuracies=(-1, -1, 0.5, 0.5))]
    path = written(tmp_path / "new" / "results.jsonl", *results)
    assert read_results(path) == results
    assert len(path.read_text().splitlines()) == 2
    assert read_results(tmp_path / "absent.jsonl") == []


def test_without_a_leader_chance_counts():
    result = made_up_result(accuracies=(-1, 0.5, 0.5, 0.75))
    assert result.accuracies == pytest.approx((0.1, 0.5, 0.5, 0.75))
    assert len(result.leaders) == 2 or result.leader_rows == (-1, 0, 0, 2)


def test_a_line_that_a_killed_command_cut_is_left_out_and_cut_off(tmp_path):
    path = written(tmp_path / "results.jsonl", made_up_result())
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:100])
    assert read_results(path) == [made_up_result()]
    written(path, made_up_result("tpe"))
    assert read_results(path) == [made_up_result(), made_up_result("tpe")]


def test_two_commands_do_not_write_to_one_file(tmp_path):
    path = tmp_path / "results.jsonl"
    with opened_results(path), pytest.raises(InputError, match="another command writes to"), opened_results(path):
        pass
    with opened_results(path):
        pass


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2 of .* is no result of this program"),
        ("[]", "line 2 of .* is no result of this program"),
        (json.dumps(made_up_result().to_dict()), "line 2 of .* repeats the study .*'random', 0"),
        (
            json.dumps(made_up_result("tpe").to_dict()).replace('"epochs": 9, "seconds"', '"epochs": 8, "seconds"'),
            "line 2 of .* has the task 'mnist-8000' with other sizes",
        ),
    ],
)
def test_wrong_lines_are_named(tmp_path, line, message):
    path = written(tmp_path / "results.jsonl", made_up_result())
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(InputError, match=message) as error:
        read_results(path)
    assert "\n" not in str(error.value)


def test_a_folder_is_no_file_of_results(tmp_path):
    with pytest.raises(InputError, match="name another file with --results"), opened_results(tmp_path):
        pass
    with pytest.raises(InputError, match="name another file with --results"):
        read_results(tmp_path)


def test_missing_studies_are_those_without_a_result():
    names = [("mnist-8000", arm, seed) for arm in ("random", "tpe") for seed in range(2)]
    assert missing(names, [made_up_result("random", 1), made_up_result("tpe", 0)]) == [names[0], names[3]]


def test_a_result_is_one_line_of_plain_json():
    result = made_up_result()
    assert StudyResult.from_dict(json.loads(json.dumps(result.to_dict()))) == result
