"""Words of the command line."""

from __future__ import annotations

from cases import refused
from places import Place


@refused("unknown command", "No such command 'evalaute'. Did you mean 'evaluate'?", code=2)
def unknown_command(place: Place) -> list[object]:
    return ["evalaute"]


@refused("unknown option", "No such option", "--sed", code=2)
def unknown_word(place: Place) -> list[object]:
    return ["run", "quickstart", "--sed", "1"]


@refused("negative seed", "Invalid value for '--seed': -1", code=2)
def negative_seed(place: Place) -> list[object]:
    return ["run", place.recipe, "--seed", "-1"]


@refused("seed of 100 bits on the command line", "'train.seed' = 12676506002282294", "less than")
def long_seed(place: Place) -> list[object]:
    return place.train(extra=["--seed", 2**100])


@refused("unknown device", "--device tpu: no such device", "Use auto, cpu, cuda or cuda:N")
def unknown_device(place: Place) -> list[object]:
    return place.train(extra=["--device", "tpu"])


@refused("GPU that is not there", "--device cuda:99: torch sees", "Use cpu")
def gpu_that_is_not_there(place: Place) -> list[object]:
    return place.train(extra=["--device", "cuda:99"])


@refused("GPU of a negative number", "--device cuda:-2", "Use auto, cpu, cuda or cuda:N")
def negative_gpu(place: Place) -> list[object]:
    return place.train(extra=["--device", "cuda:-2"])


@refused("option of a data set with a slip", "no key '--option sise'", "Did you mean 'size'?")
def slip_in_an_option(place: Place) -> list[object]:
    return ["data", "make", "scenes", "--option", "sise=1", "--data-root", place.data]


@refused("option of a data set without a value", "--option seed: is not of the form", "seed=1")
def option_without_a_value(place: Place) -> list[object]:
    return ["data", "make", "scenes", "--option", "seed", "--data-root", place.data]


@refused("scenes of 10 x 10 pixels", "size of scenes is [10, 10]", "must be 48 or more")
def tiny_scenes(place: Place) -> list[object]:
    return ["data", "make", "scenes", "--option", "size=[10, 10]", "--data-root", place.data]


@refused("neither images nor a submission", "give either IMAGES or --submission", code=2)
def nothing_to_predict(place: Place) -> list[object]:
    return ["predict", "tiny"]


@refused("folder of runs that is not there", "none: there is no such folder", "run --out")
def monitor_nothing(place: Place) -> list[object]:
    return ["monitor", place.root / "none"]


@refused("data set that is not there", "no data set is called 'vocc'. Did you mean 'voc'?")
def unknown_data_set_to_verify(place: Place) -> list[object]:
    return place.verify("vocc")


@refused("data set named by its path", "no data set is called", "Known: ade20k")
def path_as_data_set(place: Place) -> list[object]:
    return ["data", "show", place.data]
