"""Tables of traces: recognised by their columns, read row by row, refused with the place of the fault."""

import gzip
from pathlib import Path

import pytest

from scheduler.simulator.traces.kinds import Kind, find_tables
from scheduler.simulator.traces.pods import Pod, TraceNode, read_fleet, read_nodes, read_pods
from scheduler.simulator.traces.tables import BadTrace, read_header

PODS = """name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec
a,12000,16384,1,1000,
b,6000,12288,1,460,T4|P100
c,1000,512,0,0,
"""
NODES = """sn,cpu_milli,memory_mib,gpu,model
n0,64000,262144,2,P100
n1,32000,131072,0,
"""


def write(folder: Path, name: str, text: str) -> Path:
    """A table in a folder, gzipped where its name says so."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def test_pods_are_read_from_a_gzipped_table(tmp_path: Path) -> None:
    pods = read_pods(write(tmp_path, "pods.csv.gz", PODS))
    assert pods == [
        Pod(12000, 16384, 1, 1000, ()),
        Pod(6000, 12288, 1, 460, ("P100", "T4")),
        Pod(1000, 512, 0, 0, ()),
    ]
    assert [pod.asked_milli for pod in pods] == [1000, 460, 0]


def test_a_table_is_unpacked_by_what_is_in_it_whatever_its_name_is(tmp_path: Path) -> None:
    for name, content in (
        ("pods.csv", gzip.compress(PODS.encode())),
        ("pods.gz", PODS.encode()),
        ("pods", PODS.encode("utf-8-sig")),  # as spreadsheets write it
    ):
        (tmp_path / name).write_bytes(content)
        assert len(read_pods(tmp_path / name)) == 3
    (tmp_path / "empty").touch()
    assert read_header(tmp_path / "empty") == ()


def test_a_list_of_pods_may_lack_the_column_of_models(tmp_path: Path) -> None:
    text = "name,cpu_milli,memory_mib,num_gpu,gpu_milli\na,1,2,1,1000\n"
    assert read_pods(write(tmp_path, "pods.csv", text)) == [Pod(1, 2, 1, 1000, ())]


def test_nodes_and_fleets_are_read(tmp_path: Path) -> None:
    assert read_nodes(write(tmp_path, "n.csv", NODES))[0] == TraceNode("n0", 64000, 262144, 2, "P100")
    fleet = "gpu_model,gpu_capacity_num,cpu_num,node_name\nA10,1,192,x\n"
    assert read_fleet(write(tmp_path, "f.csv", fleet)) == [TraceNode("x", 192_000, 0, 1, "A10")]


def test_a_table_is_found_by_its_columns_whatever_its_name(tmp_path: Path) -> None:
    pods = write(tmp_path, "somewhere/anything.csv.gz", PODS)
    write(tmp_path, "somewhere/other.csv", NODES)
    write(tmp_path, "somewhere/noise.csv.gz", "")
    (tmp_path / "somewhere/broken.csv.gz").write_bytes(b"no gzip")
    assert find_tables(tmp_path, Kind.PODS) == [pods]
    assert find_tables(tmp_path, Kind.PODS, "*/any*") == [pods]


def test_no_table_of_a_kind_is_an_error_that_names_the_columns(tmp_path: Path) -> None:
    with pytest.raises(BadTrace, match=r"no table that fits .* and has the columns name, cpu_milli"):
        find_tables(tmp_path, Kind.PODS)
    with pytest.raises(BadTrace, match="no such folder"):
        find_tables(tmp_path / "absent", Kind.PODS)


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("a,many,1,1,1000,", "line 2, column cpu_milli: 'many', wanted a whole number"),
        ("a,1,1,1,1001,", "line 2, column gpu_milli: '1001', wanted a whole number from 0 to 1000"),
        ("a,1,1,2,500,", "line 2, column gpu_milli: '500', wanted 1000 where num_gpu is above 1"),
        ("a,1,1,1,0,", "line 2, column gpu_milli: '0', wanted 1 to 1000 where num_gpu is not 0"),
        ("a,1,1,0,5,", "line 2, column gpu_milli: '5', wanted 0 where num_gpu is 0"),
        ("a,1.5,1,1,1000,", "line 2, column cpu_milli: '1.5', wanted a whole number"),
        ("a,nan,1,1,1000,", "column cpu_milli: 'nan', wanted a whole number from"),
        ("a,-1,1,1,1000,", "column cpu_milli: '-1', wanted a whole number from 0"),
        ("a,1,1", "line 2: 3 cells, wanted 6"),
    ],
)
def test_a_bad_row_is_refused_with_line_column_and_what_would_be_right(
    tmp_path: Path, row: str, fault: str
) -> None:
    path = write(tmp_path, "pods.csv", PODS.splitlines()[0] + "\n" + row + "\n")
    with pytest.raises(BadTrace, match=fault.replace("(", r"\(")):
        read_pods(path)


@pytest.mark.parametrize(
    "content", [b"\x1f\x8b no gzip", gzip.compress(PODS.encode(), mtime=0)[:-12]], ids=["no gzip", "cut off"]
)
def test_a_file_that_is_no_gzip_or_is_cut_off_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "pods.csv.gz"
    path.write_bytes(content)
    with pytest.raises(BadTrace, match=r"pods\.csv\.gz"):
        read_pods(path)


def test_a_table_with_other_columns_is_refused_with_the_missing_ones(tmp_path: Path) -> None:
    with pytest.raises(BadTrace, match="no column name, num_gpu, gpu_milli; it has sn, cpu_milli"):
        read_pods(write(tmp_path, "n.csv", NODES))


def test_two_nodes_of_one_name_and_empty_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadTrace, match="two nodes have one name"):
        read_nodes(write(tmp_path, "n.csv", NODES + "n0,1,1,1,T4\n"))
    with pytest.raises(BadTrace, match="no pods"):
        read_pods(write(tmp_path, "p.csv", PODS.splitlines()[0] + "\n"))


def test_a_line_without_end_is_refused_and_not_read_into_memory(tmp_path: Path) -> None:
    path = write(tmp_path, "p.csv.gz", PODS.splitlines()[0] + "\n" + "x" * (1 << 21))
    with pytest.raises(BadTrace, match="a line of more than"):
        read_pods(path)
