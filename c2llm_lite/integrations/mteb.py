"""A bundle as MTEB's encoder: `mteb.evaluate(C2LLMEncoder(model), tasks)`, each task with its own instruction."""

from __future__ import annotations

from typing import Any

from ..embedder import Embedder
from ..errors import ArgumentError, MissingDependencyError
from ..pma import Array

try:
    from mteb.models import ModelMeta
    from mteb.models.abs_encoder import AbsEncoder
    from mteb.models.model_meta import ScoringFunction
except ImportError as error:
    raise MissingDependencyError("mteb", "mteb", "c2llm_lite.integrations.mteb") from error


class C2LLMEncoder(AbsEncoder):
    """A loaded bundle as MTEB's encoder.

    Prompts are chosen by the task's name and the kind of text, as MTEB names them: "CosQA-query"; then by the kind
    alone: "query" or "document". Texts of a task that has neither kind get none.
    """

    def __init__(self, model: Embedder) -> None:
        manifest = model.bundle.manifest
        self.model = model
        self.model_prompts = model.prompts
        # The name is a folder of MTEB's cache of results: another bundle must have another.
        self.mteb_model_meta = ModelMeta.create_empty(
            {
                "name": f"c2llm-lite/{model.bundle.folder.name}-{manifest.target.replace(':', '-')}",
                "revision": model.bundle.sha256,
                "adapted_from": manifest.source.name,
                "max_tokens": model.max_tokens,
                "embed_dim": model.dim,
                "similarity_fn_name": ScoringFunction.COSINE,
                "use_instructions": True,
            }
        )

    def encode(
        self,
        inputs: Any,
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: Any = None,
        **kwargs: Any,
    ) -> Array:
        """(n, d) float32, unit length. inputs: MTEB's batches, each with its texts under "text".

        kwargs: show_progress_bar; batch_size is not used, as texts are packed by their tokens.
        """
        if kwargs.get("precision") not in (None, "float32"):
            raise ArgumentError("MTEB compares vectors by their cosine: leave precision out")
        texts = [text for batch in inputs for text in batch["text"]]
        vectors: Array = self.model.embed(
            texts,
            prompt_name=self.get_prompt_name(task_metadata, prompt_type),
            progress=bool(kwargs.get("show_progress_bar", False)),
        )
        return vectors
