import json
import subprocess
import sys

import dagster as dg

from aela_dagster.definitions import defs

HEAVY = ("torch", "torchaudio", "torchvision", "librosa", "moviepy", "matplotlib", "sklearn")
ASSETS = {
    "frames",
    "clips",
    "memory",
    "image_encoder",
    "mel_autoencoder",
    "word_autoencoder",
    "image_embeddings",
    "word_embeddings",
    "pairs",
    "associator",
    "generation",
    "predictions",
    "spoken_video",
    "image_decoder",
    "evaluation",
    "report",
}


def test_the_code_location_loads_without_any_heavy_module():
    code = (
        "import sys, json, aela_dagster.definitions, aela_dagster.cli; "
        f"print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(out.stdout) == []


def test_the_definitions_are_valid_and_complete():
    dg.Definitions.validate_loadable(defs)
    graph = defs.resolve_asset_graph()
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} == ASSETS
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description and node.owners and node.group_name != "default", key


def test_what_depends_on_what():
    graph = defs.resolve_asset_graph()

    def upstream(asset: str) -> set[str]:
        return {k.to_user_string() for k in graph.get(dg.AssetKey(asset)).parent_keys}

    assert upstream("memory") == {"frames", "clips"}
    assert upstream("image_encoder") == upstream("mel_autoencoder") == {"memory"}
    assert upstream("pairs") == {"image_embeddings", "word_embeddings"}
    assert upstream("predictions") == {"generation", "frames"}
    assert upstream("image_decoder") == {"generation"}
    assert upstream("report") == {"evaluation", "predictions", "image_decoder"}
    sight = {"image_encoder", "image_embeddings"}
    hearing = {"mel_autoencoder", "word_autoencoder", "word_embeddings"}
    for asset in sight:
        assert not upstream(asset) & hearing
    for asset in hearing:
        assert not upstream(asset) & sight
