"""What requests bring, as JSON: every field typed, no other taken, numbers finite."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

OutputType = Literal["decoder", "cosine"]
Vector = Annotated[list[float], Field(min_length=1)]
Context = Annotated[list[Vector], Field(min_length=1)]
Model = Annotated[
    str | None, Field(description="A name of /models; may be left out where there is one.", examples=[None])
]
Text = Annotated[str, Field(min_length=1)]


class Body(BaseModel):
    """Neither unknown fields nor texts for numbers; NaN is no number."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


class PredictBody(Body):
    """One context, oldest vector first. decoder: the prediction as the encoder would give it; cosine: its twin of unit
    length. steps: predictions, each fed back for the next."""

    model: Model = None
    context_vectors: Context = Field(description="1 to context_length vectors, oldest first.", examples=[[[0.1, 0.2]]])
    output_type: OutputType = "decoder"
    steps: int = Field(1, ge=1)


class PredictBatchBody(Body):
    """Contexts, each of a length of its own."""

    model: Model = None
    contexts: Annotated[list[Context], Field(min_length=1)] = Field(examples=[[[[0.1, 0.2]]]])
    output_type: OutputType = "decoder"
    steps: int = Field(1, ge=1)


class TextsBody(Body):
    """Texts for an encoder."""

    model: Model = None
    texts: Annotated[list[Text], Field(min_length=1)] = Field(examples=[["The cat sat on the mat."]])


class ChunkBody(Body):
    """A text to be cut; encode: whether the chunks' vectors are wanted too."""

    model: Model = None
    text: Text = Field(examples=["One sentence. And another one."])
    encode: bool = False


class DecodeBody(Body):
    """Vectors of the model's encoder. steps: 0 decodes the vectors themselves; from 1 on they are a context, and so
    many predictions behind it are decoded. candidates: texts for each, at most."""

    model: Model = None
    vectors: Context = Field(examples=[[[0.1, 0.2]]])
    steps: int = Field(0, ge=0)
    candidates: int = Field(1, ge=1, le=100)


class TmdBody(Body):
    """Texts, or vectors of the model's encoder, to be given TMD codes."""

    model: Model = None
    texts: Annotated[list[Text], Field(min_length=1)] | None = None
    vectors: Context | None = None


class TryBody(Body):
    """A text whose chunks are known. target: the chunk that is held out and predicted from those before it, counted
    from 1; null: the last. candidates: texts for it, at most."""

    model: Model = None
    text: Text = Field(examples=["One sentence. And another one. And a third that is to be predicted."])
    target: Annotated[int | None, Field(ge=1)] = None
    candidates: int = Field(5, ge=1, le=100)


class Message(BaseModel):
    """As OpenAI's clients send it; what else stands in it is left alone. Content may be a list of parts of text."""

    model_config = ConfigDict(strict=True)

    role: str = "user"
    content: str | list[dict[str, Any]] = Field(examples=["Once upon a time there was a miller."])


Messages = Annotated[list[str | Message], Field(min_length=1, examples=[["Once upon a time there was a miller."]])]
Temperature = Annotated[float | None, Field(ge=0, le=2, description="0: always the best text.")]


class ChatBody(Body):
    """What is written on from: all messages, in order, as one text."""

    model: Model = None
    messages: Messages
    steps: Annotated[int | None, Field(ge=1)] = None
    temperature: Temperature = None
    seed: int | None = None


class CompletionBody(BaseModel):
    """OpenAI's chat completion; settings that mean nothing here are left alone."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, protected_namespaces=())

    model: str
    messages: Messages
    stream: bool | None = False
    stream_options: dict[str, Any] | None = None
    temperature: Temperature = None
    max_tokens: Annotated[int | None, Field(ge=1)] = None
    max_completion_tokens: Annotated[int | None, Field(ge=1)] = None
    n: Annotated[int | None, Field(ge=1, le=1)] = 1
    seed: int | None = None
    steps: Annotated[int | None, Field(ge=1)] = None


class EmbeddingsBody(BaseModel):
    """OpenAI's embeddings."""

    model_config = ConfigDict(strict=True, protected_namespaces=())

    model: str
    input: Text | Annotated[list[Text], Field(min_length=1)] = Field(examples=["The cat sat on the mat."])
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: Annotated[int | None, Field(ge=1)] = None


class IngestDocument(Body):
    id: Text
    text: Text
    title: str = ""


class IngestBody(Body):
    """Documents for a store, which is made, or added to where it is there."""

    store: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$", examples=["letters"])
    documents: Annotated[list[IngestDocument], Field(min_length=1)]
