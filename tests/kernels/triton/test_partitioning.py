from tests.kernels.meshes import check_numbers, run_program


def test_numbers_of_shares_are_those_of_one_device() -> None:
    check_numbers(run_program("triton"))


def test_lowered_for_gpus_that_are_not_there() -> None:
    found = run_program("cuda")["adaln"]
    assert found["whole"] == ["CustomSPMDPartitioning"] * 2
    kernels = [name for name in found["share"] if name.startswith("triton_kernel_call")]
    assert len(kernels) == 2
