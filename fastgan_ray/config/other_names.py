"""Names of settings in other programs, each with a hint that names our setting."""

from __future__ import annotations

_LENGTH = "train.total_kimg sets the length of a training, in thousands of images"
_IN_EPOCHS = f"{_LENGTH} (epochs x number of pictures / 1000)"
_IN_STEPS = f"{_LENGTH} (steps x train.batch_size / 1000)"
_LEARNING_RATE = "did you mean train.lr_g or train.lr_d?"
_OPTIMISER = (
    "the optimiser is always Adam; its settings are train.lr_g, train.lr_d, train.beta1 and "
    "train.beta2"
)
_SCHEDULE = (
    "to change a number during the training, write a schedule, such as train.lr_g: "
    "{from: 2e-4, to: 0, over_kimg: 400, shape: cosine}"
)
_SIDE = "did you mean model.resolution?"
_LATENT = "did you mean model.nz?"
_PATH = "did you mean data.path?"
_EVERY = "eval.every_kimg sets the interval between evaluations, in thousands of images"
_WARM_UP = "did you mean regan.warmup_kimg (in thousands of images)?"
# Names of settings in other programs -> the hint for a user who writes them.
OTHER_NAMES = {
    **dict.fromkeys(("lr", "learning_rate", "lrate", "nlr"), _LEARNING_RATE),
    **dict.fromkeys(("g_lr", "lr_generator", "generator_lr"), "did you mean train.lr_g?"),
    **dict.fromkeys(("d_lr", "lr_discriminator", "discriminator_lr"), "did you mean train.lr_d?"),
    **dict.fromkeys(("lr_decay", "lr_scheduler", "lr_schedule", "scheduler"), _SCHEDULE),
    **dict.fromkeys(("warmup", "lr_warmup", "warmup_steps", "decay_steps"), _SCHEDULE),
    **dict.fromkeys(("epoch", "epochs", "num_epochs", "n_epochs", "max_epochs"), _IN_EPOCHS),
    **dict.fromkeys(("step", "steps", "num_steps", "max_steps", "iter", "iters"), _IN_STEPS),
    **dict.fromkeys(("iterations", "num_iterations", "max_iter", "max_iterations"), _IN_STEPS),
    **dict.fromkeys(("batch", "bs", "batchsize", "minibatch"), "did you mean train.batch_size?"),
    **dict.fromkeys(("im_size", "img_size", "image_size", "imsize", "size", "res"), _SIDE),
    **dict.fromkeys(("z_dim", "zdim", "latent_dim", "latent_size", "dim_z"), _LATENT),
    **dict.fromkeys(("dataset", "data_path", "data_dir", "dataroot", "root"), _PATH),
    **dict.fromkeys(("optimizer", "optimiser", "optim"), _OPTIMISER),
    **dict.fromkeys(("kimg", "total_images"), "did you mean train.total_kimg?"),
    **dict.fromkeys(
        ("diffaug", "diffaugment", "diff_augment", "aug", "augmentation"),
        "did you mean augment.policy?",
    ),
    # SLE-GAN, FastGAN and Re-GAN
    "g_learning_rate": "did you mean train.lr_g?",
    "d_learning_rate": "did you mean train.lr_d?",
    **dict.fromkeys(("fid_frequency", "eva_iter", "save_interval"), _EVERY),
    **dict.fromkeys(("fid_number_of_images", "eva_size"), "did you mean eval.num_fakes?"),
    **dict.fromkeys(("warmup_epoch", "warmup_iter"), _WARM_UP),
    "regan": "Re-GAN is on if regan.sparsity is above 0",
    "g": "did you mean regan.interval_kimg (in thousands of images)?",
    "n_critic": "did you mean train.d_steps?",
    **dict.fromkeys(("num_samples", "data_ratio"), "did you mean data.limit?"),
    "num_gpus": "did you mean resources.workers?",
    # Keras' example
    **dict.fromkeys(("noise_size", "noise_dim"), _LATENT),
    "depth": "did you mean model.dcgan_depth?",
    "width": "did you mean model.dcgan_width (for architecture dcgan), or model.ngf and model.ndf?",
    "leaky_relu_slope": "did you mean model.d_slope?",
    "dropout_rate": "did you mean model.d_dropout?",
    "target_accuracy": "did you mean augment.ada_target?",
    "integration_steps": "did you mean augment.ada_steps?",
    "max_translation": "did you mean augment.keras_shift?",
    "max_rotation": "did you mean augment.keras_rotation?",
    "max_zoom": "did you mean augment.keras_zoom?",
    "beta_1": "did you mean train.beta1?",
    "beta_2": "did you mean train.beta2?",
    "ema": "did you mean train.ema_halflife_kimg?",
    "kid_image_size": "did you mean eval.picture_px?",
    "dataset_name": _PATH,
}
