"""What people write without cxr: a plain PyTorch script that predicts images, or trains on a folder of them.

`python -m benchmarks.plain predict WEIGHTS IMAGE...` prints fourteen probabilities of each image;
`python -m benchmarks.plain train ROOT EPOCHS` trains ResNet-18 at 128 pixels with two workers and evaluates each epoch.
It imports torch, torchvision, Pillow and NumPy, and scikit-learn where it evaluates.
"""

import csv
import sys
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import models, transforms

FINDINGS = (
    "Atelectasis|Cardiomegaly|Effusion|Infiltration|Mass|Nodule|Pneumonia|Pneumothorax|Consolidation|Edema|Emphysema|"
    "Fibrosis|Pleural_Thickening|Hernia"
).split("|")
NORMALISE = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def predict(weights: Path, images: list[Path]) -> None:
    """Print the probabilities of each image by DenseNet-121 at 224 pixels."""
    model = models.densenet121(weights=None, num_classes=len(FINDINGS))
    model.load_state_dict(torch.load(weights, weights_only=True))
    model.eval()
    prepare = transforms.Compose([transforms.Resize((224, 224)), transforms.ToTensor(), NORMALISE])
    batch = torch.stack([prepare(Image.open(image).convert("RGB")) for image in images])
    with torch.no_grad():
        probabilities = torch.sigmoid(model(batch))
    for image, row in zip(images, probabilities.tolist(), strict=True):
        print(image.name, *(f"{value:.4f}" for value in row))


class Images(Dataset[tuple[Tensor, Tensor]]):
    """ChestX-ray14's table and files, those that a list names."""

    def __init__(self, root: Path, names: set[str], flips: bool) -> None:
        with (root / "Data_Entry_2017_v2020.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["Image Index"] in names]
        self.files = [root / "images" / row["Image Index"] for row in rows]
        labels = [[float(name in row["Finding Labels"].split("|")) for name in FINDINGS] for row in rows]
        self.labels = torch.tensor(labels)
        steps = [transforms.Resize((128, 128)), *([transforms.RandomHorizontalFlip()] if flips else [])]
        self.prepare = transforms.Compose([*steps, transforms.ToTensor(), NORMALISE])

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        image: Tensor = self.prepare(Image.open(self.files[row]).convert("RGB"))
        return image, self.labels[row]


def train(root: Path, epochs: int) -> None:
    """Train on the images of train_val_list.txt, evaluate on those of test_list.txt after each epoch."""
    from sklearn.metrics import roc_auc_score

    lists = [set((root / f"{name}_list.txt").read_text().split()) for name in ("train_val", "test")]
    learned, tested = Images(root, lists[0], flips=True), Images(root, lists[1], flips=False)
    batches = DataLoader(learned, 32, shuffle=True, num_workers=2)
    held_out = DataLoader(tested, 32, num_workers=2)
    model = models.resnet18(weights=None, num_classes=len(FINDINGS))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    for epoch in range(epochs):
        model.train()
        for images, labels in batches:
            loss = nn.functional.binary_cross_entropy_with_logits(model(images), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        model.eval()
        with torch.no_grad():
            p = torch.cat([torch.sigmoid(model(images)) for images, _ in held_out]).numpy()
        y = tested.labels.numpy()
        both = [number for number in range(len(FINDINGS)) if 0 < y[:, number].sum() < len(y)]
        print(epoch, sum(roc_auc_score(y[:, number], p[:, number]) for number in both) / len(both))


if __name__ == "__main__":
    command, path, *rest = sys.argv[1:]
    predict(Path(path), [Path(image) for image in rest]) if command == "predict" else train(
        Path(path), int(rest[0])
    )
