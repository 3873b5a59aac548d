

def test_a_field_of_the_recipe_that_came_later_has_its_default_in_a_checkpoint(tmp_path):
    saved = {"lr": 0.1, "clip": 1.0}
    checkpoint.check_same_run(saved, {**saved, "decay_vectors": True, "drop_last": False}, tmp_path)
    with pytest.raises(ValueError, match="decay_vectors is True there and False here"):
        checkpoint.check_same_run(saved, {**saved, "decay_vectors": False}, tmp_path)
    with pytest.raises(ValueError, match="clip is 1.0 there and None here"):
        checkpoint.check_same_run(saved, {"lr": 0.1, "clip": None}, tmp_path)
