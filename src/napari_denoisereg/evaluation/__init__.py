"""How good is it? Measures on results, and generators that know the truth.

`keypoints` (registration error, DenoiseReg eq. 5), `overlap` (Dice), `image_quality` (PSNR, SSIM, NCC, noise),
`deformation` (folding), `motion` (over time), `residual`, `lines` and `comparison` (to look at), `synthetic` (movies and
sections with known motion; its parts are the `synthetic_*` files) and `report` (table, CSV, JSON, HTML; drawn by
`report_page` and `chart`). `deformation` and `motion` need torch.
Import the file you need: `from napari_denoisereg.evaluation.keypoints import Keypoints`.
"""
