"""MTEB's encoder for a bundle: `mteb.evaluate(C2LLMEncoder(model), tasks)` gives each task its own instruction."""

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
    """MTEB's encoder for a loaded bundle.

    A task that the model was trained for has prompts of its own, such as "CosQA-query". Any other task gets what MTEB
    gives it (AbsEncoder.get_task_instruction), as in published scores: the task's own prompt, before queries and
    documents alike if it is one string, without a newline; failing that, the default of the task's class.

    Args:
        model: The loaded bundle.
    """

    def __init__(self, model: Embedder) -> None:
        manifest = model.bundle.manifest
        self.model = model
        # MTEB's cache of results has a folder of this name: it must be unique to the bundle.
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
        """Embed MTEB's batches.

        Args:
            inputs: Batches, each with its texts under "text".
            task_metadata: The task, whose name selects the prompt.
            hf_split: Not used.
            hf_subset: Not used.
            prompt_type: The kind of text: query or document.
            **kwargs: show_progress_bar. batch_size is ignored: texts are packed by their tokens.

        Returns:
            The vectors (n, d), float32, of unit length.

        Raises:
            ArgumentError: Another precision than float32 was requested.
            TextError: As in Embedder.embed().
        """
        if kwargs.get("precision") not in (None, "float32"):
            raise ArgumentError("MTEB compares vectors by cosine; omit precision")
        texts = [text for batch in inputs for text in batch["text"]]
        named = f"{task_metadata.name}-{prompt_type.value}" if prompt_type is not None else ""
        if named in self.model.prompts:
            prompt = self.model.prompts[named]
        else:
            prompt = self.get_task_instruction(task_metadata, prompt_type)
        progress = bool(kwargs.get("show_progress_bar", False))
        vectors: Array = self.model.embed(texts, prompt=prompt, progress=progress)
        return vectors
