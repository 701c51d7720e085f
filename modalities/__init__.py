"""The built-in modalities: a catalogue of lazy names, read through the entry point `unitok.modalities`."""

CATALOG = {
    "image.detailflow": f"{__name__}.image.detailflow:DetailFlow",
    "image.flextok": f"{__name__}.image.flextok:FlexTok",
    "image.flowtok": f"{__name__}.image.flowtok:FlowTok",
    "image.gigatok": f"{__name__}.image.gigatok:GigaTok",
    "image.instella": f"{__name__}.image.instella:Instella",
    "image.seed": f"{__name__}.image.seed:Seed",
    "image.titok": f"{__name__}.image.titok:TiTok",
    "molecule.mol3d": f"{__name__}.molecule.mol3d:Mol3D",
    "molecule.selfies": f"{__name__}.molecule.selfies:Selfies",
    "pointcloud.any2point": f"{__name__}.pointcloud.tokenizer:PointTokenizer",
    "pointcloud.features": f"{__name__}.pointcloud.features:CloudFeatures",
    "text.bytes": f"{__name__}.text.raw:Bytes",
    "text.pieces": f"{__name__}.text.pieces:Pieces",
}
