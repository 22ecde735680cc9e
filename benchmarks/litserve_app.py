"""A run behind LitServe, batched as its documentation says: what `serve_engines.py` measures beside the lab's server.

python benchmarks/litserve_app.py RUN PORT
"""

import sys

import litserve as ls
import torch

import lvm_lab


# Of a module: it is sent to another process.
class Predict(ls.LitAPI):
    def __init__(self, run: str) -> None:
        super().__init__(max_batch_size=64, batch_timeout=0.0, api_path="/predict")
        self.run = run

    def setup(self, device: str) -> None:
        torch.set_num_threads(1)
        self.model = lvm_lab.load(self.run, device)

    # It reads the annotation itself, which has to be no string, and fails without one beside FastAPI 0.165.
    def decode_request(self, request: dict) -> torch.Tensor:
        return torch.tensor(request["context_vectors"])

    def batch(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack(inputs)

    def predict(self, context_BLD: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return self.model.predict(context_BLD).raw_ND

    def unbatch(self, output: torch.Tensor) -> list[torch.Tensor]:
        return list(output)

    def encode_response(self, output: torch.Tensor) -> dict:
        return {"vectors": [output.tolist()]}


if __name__ == "__main__":
    server = ls.LitServer(Predict(sys.argv[1]), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="error")
