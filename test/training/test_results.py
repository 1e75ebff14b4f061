"""Runs find their rows, and every table is printed with blanks where nobody ran anything."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mono_depth_ros.checkpoint import CheckpointInfo
from mono_depth_ros.config import from_mapping, to_mapping
from mono_depth_ros.errors import ConfigError, DataError
from mono_depth_ros.models.base import ImageSize
from training.config import TrainConfig
from training.results import Results, main, table_lines
from training.scored import PLACES, Match, Run, matches, read_runs
from training.studies import load_studies, study_recipe

STUDIES = load_studies()
SCORES = {"delta1": 0.5, "abs_rel": 0.25, "rmse_m": 1.0}
HOW = "BTS, 23,041 images; 28802 steps of 8 images"


def scored(place="nyu", **record):
    """Return the profiles of a score file: all images of the place's split."""
    at = PLACES[place]
    whole = {"split": at.split, "images": at.images, "scores": {}, "strata": {}}
    return {at.profile: whole | record}


NYU = scored(scores=SCORES)


def info_of(study, row, dataset, name="ours"):
    """Return what a checkpoint of a row's own recipe says about itself."""
    config = from_mapping(TrainConfig, study_recipe(study, row, dataset))
    return CheckpointInfo(
        name=name,
        network=study.network,
        settings=study.settings_of(row, dataset),
        image_size=ImageSize(64, 96),
        training_data=HOW,
        recipe=to_mapping(config) | {"data_digests": {}, "steps_done": 28802, "seconds": 1.0},
    )


def run_of(study, row, dataset, profiles=None, semantics=None, scored_on="", **more):
    info = info_of(study, row, dataset)
    return Run(f"{row.key}.json", info, scored_on or dataset, profiles or NYU, semantics, **more)


def with_recipe(run, **changes):
    """Return a run that was trained by other settings than its row's, 20 steps of 2 images."""
    data = "BTS, 10 images; 20 steps of 2 images"
    recipe = run.info.recipe | {"steps_done": 20} | changes
    return replace(run, info=replace(run.info, recipe=recipe, training_data=data))


def lines_of(study, *runs):
    return list(table_lines(Results(list(STUDIES.values()), runs), study))


@pytest.mark.parametrize("name", STUDIES)
def test_every_row_is_recognised_by_what_it_was_trained_as(name):
    study = STUDIES[name]
    for row in study.rows:
        for dataset in row.recipes or study.recipes:
            found = [r.name for r in matches(study, run_of(study, row, dataset), dataset)]
            assert found == [row.name], dataset


def test_a_run_stands_in_every_table_that_has_its_row():
    study = STUDIES["pwa_table1"]
    row = study.row("+ PWA + DenseASPP, 64 px")
    run = run_of(study, row, "nyu")
    lines = lines_of(study, run)
    at = lines.index(next(line for line in lines if line.startswith("   + PWA + DenseASPP, 64 px")))
    assert lines[at].split()[-8:] == [
        *("0.860", "0.976", "0.995", "0.119", "0.072", "0.424", "0.152", "12.541")
    ]
    # Scores that the file lacks are blank, not zero.
    assert lines[at + 1].split() == [
        "ours",
        "ours",
        "0.500",
        "-",
        "-",
        "0.250",
        "-",
        "1.000",
        "-",
        "-",
    ]
    other = "\n".join(lines_of(STUDIES["pwa_backbones"], run))
    assert other.count("0.250") == 1
    # The same numbers on KITTI would need a run on KITTI.
    kitti = other[other.index("kitti (kitti-garg)") :]
    assert "ours" in kitti and "0.250" not in kitti


def test_another_loss_backbone_or_data_set_is_another_row():
    study = STUDIES["pwa_table1"]
    row = study.row("baseline")
    run = run_of(study, row, "nyu")
    assert [r.name for r in matches(study, run, "nyu")] == ["baseline"]
    assert matches(study, run, "kitti") == []
    loss = {**run.info.recipe["loss"], "silog": {"variance_focus": 0.85}}
    changed = replace(run, info=replace(run.info, recipe={**run.info.recipe, "loss": loss}))
    assert matches(study, changed, "nyu") == []
    settings = {**run.info.settings, "backbone": "densenet121"}
    assert matches(study, replace(run, info=replace(run.info, settings=settings)), "nyu") == []
    assert matches(STUDIES["hma_table3"], run, "nyu") == []
    results = Results([study], [replace(run, dataset="kitti")])
    # Its settings are not those of a row on KITTI.
    assert results.unmatched and not results.of_row(study, row, PLACES["kitti"])


class TestHowFarARunIsTheRow:
    study = STUDIES["pwa_table1"]
    row = study.row("baseline")

    def lines(self, run):
        lines = lines_of(self.study, run)
        at = next(i for i, line in enumerate(lines) if line.strip().startswith("ours "))
        below = [line.strip() for line in lines[at + 1 :]]
        return " ".join(lines[at].split()), below[
            : next(i for i, line in enumerate(below) if " paper " in line)
        ]

    def test_all_of_it(self):
        run = run_of(self.study, self.row, "nyu", about={"flip averaging": False})
        ours, notes = self.lines(run)
        assert ours.split()[:3] == ["ours", "ours", "0.500"]
        assert notes == [f"654 of 654 images, flip averaging off; trained on {HOW}"]

    def test_a_short_run_on_other_images(self):
        run = run_of(self.study, self.row, "nyu", about={"flip averaging": True})
        trained = run.info.recipe
        short = with_recipe(
            run,
            epochs=None,
            steps=20,
            batch_size=2,
            data={**trained["data"], "prepared": [{"folder": "x", "train": "train795"}]},
            optimizer={**trained["optimizer"], "learning_rate": 1e-3},
            augmentation=[{"op": "resize"}],
            # Without a say in the result.
            seed=7,
            device="cpu",
            save_every=1,
        )
        ours, notes = self.lines(replace(short, profiles=scored(scores=SCORES, images=3)))
        assert "ours, partial, other recipe 0.500" in ours
        assert notes == [
            "3 of 654 images, flip averaging on; trained on BTS, 10 images; 20 steps of 2 images",
            "other recipe: steps 20, not none; epochs none, not 10; augmentation; "
            "batch_size 2, not 8; data.train train795, not train; "
            "optimizer.learning_rate 0.001, not 0.0005",
        ]

    def test_images_that_were_left_out(self):
        profiles = scored(scores=SCORES, images=650)
        ours, notes = self.lines(run_of(self.study, self.row, "nyu", profiles, left_out=4))
        assert "ours, partial 0.500" in ours
        assert notes[0].startswith("650 of 654 images (4 left out), flip averaging unknown;")

    def test_more_images_than_the_table_has(self):
        ours, notes = self.lines(
            run_of(self.study, self.row, "nyu", scored(scores=SCORES, images=700))
        )
        assert "ours, other images 0.500" in ours and notes[0].startswith("700 of 654 images")

    def test_another_split_is_not_taken(self):
        profiles = scored(scores=SCORES, split="train")
        ours, notes = self.lines(run_of(self.study, self.row, "nyu", profiles))
        assert ours.split() == ["ours", "ours", "not", "scored"]
        assert notes == ["scored on split train alone; this table is about split test"]

    def test_another_split_has_no_classes_either(self):
        run = run_of(self.study, self.row, "nyu", scored(split="train"), {"mean_iou": 0.5})
        assert run.value(PLACES["nyu"], "mean_iou") is None

    def test_warnings_of_the_evaluation(self):
        about = {"warnings": ["3 of 654 images were trained on; these scores are too good"]}
        _, notes = self.lines(run_of(self.study, self.row, "nyu", about=about))
        assert notes[-1] == "WARNING: 3 of 654 images were trained on; these scores are too good"

    def test_weights_without_a_recipe(self):
        run = run_of(self.study, self.row, "nyu")
        _, notes = self.lines(replace(run, info=replace(run.info, recipe={})))
        assert notes[-1] == "its recipe is unknown"


@pytest.mark.parametrize("name", STUDIES)
def test_a_row_does_not_differ_from_itself(name):
    study = STUDIES[name]
    for row in study.rows:
        for dataset in row.recipes or study.recipes:
            match = Match(study, row, dataset, run_of(study, row, dataset))
            assert match.differences() == []


def test_weights_without_a_recipe_count_by_their_settings():
    study = STUDIES["hma_backbones"]
    row = study.row("DenseNet161")
    run = run_of(study, row, "kitti")
    authors = replace(run, info=replace(run.info, recipe={}))
    assert [r.name for r in matches(study, authors, "kitti")] == ["DenseNet161"]
    # Two rows of this table differ in their loss alone.
    table8 = STUDIES["look_deeper_table8"]
    run = run_of(table8, table8.row("L_DA"), "nyu")
    assert matches(table8, replace(run, info=replace(run.info, recipe={})), "nyu") == []


def test_ranges_caps_and_leaderboard_are_found_in_their_places():
    study = STUDIES["look_deeper_table7"]
    row = study.row("4 classes")
    strata = {"below 4 m": {"abs_rel": 0.125}, "below 8 m": {"abs_rel": 0.375}}
    run = run_of(study, row, "nyu", scored(strata=strata))
    text = "\n".join(lines_of(study, run))
    blocks = {block.split(" (")[0]: block for block in text.split("supplement Tables 4 to 7: ")[1:]}
    assert "0.125" in blocks["nyu 4m"] and "0.375" in blocks["nyu 8m"]
    assert "not scored" in blocks["nyu"] and "not scored" in blocks["nyu 6m"]

    study = STUDIES["pwa_table3"]
    devkit = {"silog": 12.5, "irmse_per_km": 13.0}
    profiles = scored("kitti_benchmark", scores={"silog": 12.5}, devkit=devkit)
    run = run_of(study, study.rows[0], "kitti_benchmark", profiles, scored_on="kitti")
    _, remark, _, paper, ours, how, chosen = lines_of(study, run)
    assert "500 images without public truth; here: the 1000 of split selection" in remark
    assert paper.split()[-4:] == ["11.450", "2.300", "9.050", "12.320"]
    assert ours.split() == ["ours", "ours", "12.500", "-", "-", "13.000"]
    assert how.strip().startswith("1000 of 1000 images, flip averaging unknown;")
    assert chosen.strip() == "the best checkpoint was chosen on the images of split selection"


def test_gains_are_against_the_row_whose_gain_is_zero():
    study = STUDIES["look_deeper_table1"]

    def run(name, rmse_m, mean_iou):
        profiles = scored(scores={"rmse_m": rmse_m})
        return run_of(study, study.row(name), "nyu", profiles, {"mean_iou": mean_iou})

    runs = [run("single, depth", 0.9, 0.1), run("single, semantics", 3.0, 0.4)]
    both = [*runs, run("branch-out", 0.7, 0.5)]
    ours = [
        line.split()[-2:] for line in lines_of(study, *both) if line.split()[:2] == ["ours", "ours"]
    ]
    # 0.9 - 0.7 m of RMSE less, 0.5 - 0.4 of IoU more than the networks of one task.
    assert ours[-1] == ["+0.200", "+0.100"]
    assert ours[0][0] == "+0.000" and ours[1][1] == "+0.000"
    alone = [line for line in lines_of(study, both[-1]) if line.split()[:2] == ["ours", "ours"]]
    assert alone[0].split()[-2:] == ["not", "scored"]
    # Table 2 measures against the same rows.
    second = STUDIES["look_deeper_table2"]
    split = run_of(
        second, second.rows[0], "nyu", scored(scores={"rmse_m": 0.6}), {"mean_iou": 0.45}
    )
    ours = [line for line in lines_of(second, *both, split) if line.split()[:2] == ["ours", "ours"]]
    assert ours[0].split()[-2:] == ["+0.300", "+0.050"]
    # A base that is not what the table asks for is named as such, and given up for one that is.
    partial = replace(runs[0], profiles=scored(scores={"rmse_m": 0.8}, images=3))
    lines = lines_of(second, partial, split)
    assert "+0.200" in "\n".join(lines) and "       RMSE gain is against ours (partial)" in lines
    assert "+0.300" in "\n".join(lines_of(second, partial, *both, split))


def test_every_table_is_printed_with_honest_blanks(capsys):
    assert main([]) == 0
    text = capsys.readouterr().out
    for study in STUDIES.values():
        assert study.table in text
        for row in study.rows:
            assert row.name in text
    assert text.count("not run") == text.count(" ours ")
    assert main(["--table", "pwa, table 3"]) == 0
    assert capsys.readouterr().out.startswith("PWA, Table 3: kitti benchmark")
    assert main(["--table", "Table 99"]) == 1
    assert "no table" in capsys.readouterr().err


def test_score_files_are_checked(tmp_path):
    with pytest.raises(DataError, match="holds no scores"):
        read_runs([tmp_path])
    path = tmp_path / "run/scores_nyu.json"
    path.parent.mkdir()
    study = STUDIES["pwa_table1"]
    record = {
        "format": 1,
        "checkpoint": to_mapping(info_of(study, study.rows[0], "nyu")),
        "dataset": "nyu",
        "profiles": NYU,
        "semantics": None,
        "about": {"flip averaging": True},
        "left_out": ["a: b"],
    }
    path.write_text(json.dumps(record))
    (run,) = read_runs([tmp_path])
    assert run.path == path and run.info.name == "ours"
    assert run.about == {"flip averaging": True} and run.left_out == 1
    assert [r.name for r in matches(study, run, "nyu")] == ["baseline"]
    for change, message in (
        ({"format": 2}, "format 2"),
        ({"checkpoint": None}, "does not say which checkpoint"),
        ({"checkpoint": {"name": "x"}}, "no file of"),
    ):
        path.write_text(json.dumps({**record, **change}))
        with pytest.raises(DataError, match=message):
            read_runs([path])
    path.write_text("scores")
    with pytest.raises(DataError, match="no file of"):
        read_runs([path])


def test_a_printed_score_nobody_knows_is_an_error():
    study = STUDIES["pwa_table3"]
    row = replace(study.rows[0], paper={"kitti_benchmark": {"beauty": 1.0}})
    with pytest.raises(ConfigError, match="beauty"):
        lines_of(replace(study, rows=(row,)))
