"""The tables of bad inputs: each has rows, and none of them twice."""

from tests.bad_input import (
    option_values,
    test_data_files,
    test_exported,
    test_folders,
    test_networks,
    test_options,
    test_spaces,
    test_storages,
    test_studies,
    test_study_files,
)

TABLES = (
    option_values.CASES,
    test_options.COMMAND_LINES,
    test_networks.NETWORKS,
    test_spaces.SPACES,
    test_data_files.DATA,
    test_folders.FOLDERS,
    test_studies.OTHERS,
    test_study_files.WEIGHTS_FILES,
    test_study_files.STUDY_FILES,
    test_storages.URLS,
    test_storages.KINDS,
    test_exported.ARGUMENTS,
    test_exported.PICTURES,
    test_exported.TEST_SETS,
)


def test_every_table_has_rows_and_none_of_them_twice() -> None:
    for table in TABLES:
        assert table
        assert len({repr(row) for row in table}) == len(table)
