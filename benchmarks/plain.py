"""What people write without cxr: a plain PyTorch script that predicts images, or trains on a folder of them.

`python -m benchmarks.plain predict WEIGHTS IMAGE...` prints fourteen probabilities of each image;
`python -m benchmarks.plain train ROOT EPOCHS` trains ResNet-18 at 128 pixels with two workers and evaluates each epoch,
or what its options say. Each epoch prints its number, macro AUROC and images a second of training.
It imports torch, torchvision, Pillow and NumPy, and scikit-learn where it evaluates.
"""

import argparse
import csv
import time
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

    def __init__(self, root: Path, names: set[str], size: int, flips: bool) -> None:
        with (root / "Data_Entry_2017_v2020.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["Image Index"] in names]
        self.files = [root / "images" / row["Image Index"] for row in rows]
        labels = [[float(name in row["Finding Labels"].split("|")) for name in FINDINGS] for row in rows]
        self.labels = torch.tensor(labels)
        steps = [transforms.Resize((size, size)), *([transforms.RandomHorizontalFlip()] if flips else [])]
        self.prepare = transforms.Compose([*steps, transforms.ToTensor(), NORMALISE])

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        image: Tensor = self.prepare(Image.open(self.files[row]).convert("RGB"))
        return image, self.labels[row]


def train(
    root: Path,
    epochs: int,
    backbone: str,
    size: int,
    batch_size: int,
    workers: int,
    device: str,
    precision: str,
) -> None:
    """Train on the images of train_val_list.txt, evaluate on those of test_list.txt after each epoch."""
    from sklearn.metrics import roc_auc_score

    is_half, is_cuda = precision == "bf16", device == "cuda"
    layout = torch.channels_last if is_half else torch.contiguous_format  # as guides to bf16 advise
    torch.backends.cudnn.benchmark = is_cuda
    lists = [set((root / f"{name}_list.txt").read_text().split()) for name in ("train_val", "test")]
    learned, tested = Images(root, lists[0], size, flips=True), Images(root, lists[1], size, flips=False)
    batches = DataLoader(
        learned,
        batch_size,
        shuffle=True,
        drop_last=True,  # BatchNorm cannot train on a batch of one image
        num_workers=workers,
        pin_memory=is_cuda,
        persistent_workers=True,
    )
    held_out = DataLoader(
        tested, batch_size, num_workers=workers, pin_memory=is_cuda, persistent_workers=True
    )
    model = models.get_model(backbone, weights=None, num_classes=len(FINDINGS))
    model = model.to(device, memory_format=layout)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    for epoch in range(epochs):
        begun = time.perf_counter()
        model.train()
        for images, labels in batches:
            images = images.to(device, non_blocking=True, memory_format=layout)
            labels = labels.to(device, non_blocking=True)
            with torch.autocast(device, torch.bfloat16, enabled=is_half):
                logits = model(images)
            loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        if is_cuda:
            torch.cuda.synchronize()
        rate = len(batches) * batch_size / (time.perf_counter() - begun)
        model.eval()
        with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=is_half):
            logits = torch.cat([model(images.to(device)).float().cpu() for images, _ in held_out])
        p, y = torch.sigmoid(logits).numpy(), tested.labels.numpy()
        both = [number for number in range(len(FINDINGS)) if 0 < y[:, number].sum() < len(y)]
        auroc = sum(roc_auc_score(y[:, number], p[:, number]) for number in both) / len(both)
        print(epoch, auroc, rate)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    predicting = commands.add_parser("predict")
    predicting.add_argument("weights", type=Path)
    predicting.add_argument("images", type=Path, nargs="+")
    training = commands.add_parser("train")
    training.add_argument("root", type=Path)
    training.add_argument("epochs", type=int)
    training.add_argument("--backbone", default="resnet18")
    training.add_argument("--size", type=int, default=128)
    training.add_argument("--batch-size", type=int, default=32)
    training.add_argument("--workers", type=int, default=2)
    training.add_argument("--device", default="cpu")
    training.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    told = vars(parser.parse_args())
    (predict if told.pop("command") == "predict" else train)(**told)
