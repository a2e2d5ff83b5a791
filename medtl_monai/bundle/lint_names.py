"""Which names configurations may use, as plain tables: modules, functions, attributes."""

from __future__ import annotations


def words(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


# Modules that run code, start processes, unpickle, delete or talk to the network: never, in any spelling.
FORBIDDEN_MODULES = words(
    """
    __builtin__ __builtins__ __main__ _ctypes _io _pickle _posixsubprocess _thread antigravity asyncio atexit builtins
    cffi cloudpickle cmd codeop cProfile ctypes dill distutils faulthandler fileinput ftplib gc gdown http httplib2
    httpx huggingface_hub idlelib imaplib imp importlib inspect io ipykernel IPython jinja2 joblib jsonpickle linecache
    marshal mmap multiprocessing nt nturl2path os paramiko pdb pickle pickletools pip pkg_resources pkgutil platform
    popen2 poplib posix posixpath profile pty py_compile pydoc requests runpy sched setuptools shelve shutil signal
    site smtplib socket socketserver sqlite3 ssl subprocess sys sysconfig telnetlib tempfile threading timeit tkinter
    trace traceback turtle types typing_extensions unittest urllib urllib2 urllib3 venv webbrowser winreg wsgiref xmlrpc
    xml yaml zipapp zipimport zmq
    """
)
# those whose names also mean harmless things inside a package or an object
_AMBIGUOUS = words("cmd code http io profile resource signal site tempfile test trace types xml yaml")
FORBIDDEN_WITHIN = FORBIDDEN_MODULES - _AMBIGUOUS
# texts that start with one of these are names of functions, not of files
FORBIDDEN_IN_TEXTS = words(
    """
    builtins cloudpickle ctypes dill importlib joblib marshal multiprocessing nt os pickle posix pty pydoc runpy shutil
    socket subprocess sys
    """
)
FORBIDDEN_BUILTINS = words(
    """
    __build_class__ __import__ __loader__ __spec__ breakpoint classmethod compile copyright credits delattr dir eval
    exec execfile exit getattr globals hasattr help id input license locals memoryview object open property quit reload
    setattr staticmethod super type vars
    """
)
# Functions under allowed roots that unpickle, compile, download or load libraries.
FORBIDDEN_DOTTED = {
    "torch.load": "unpickles",
    "torch.save": "writes files",
    "torch.compile": "compiles code",
    "torch.jit": "loads or compiles code",
    "torch.export": "loads or compiles code",
    "torch.package": "loads code",
    "torch.ops": "loads libraries",
    "torch.classes": "loads libraries",
    "torch.serialization": "unpickles",
    "torch.storage": "unpickles",
    "torch.multiprocessing": "starts processes",
    "torch.distributed.rpc": "runs code on other machines",
    "torch.distributed.run": "starts processes",
    "torch.distributed.launch": "starts processes",
    "torch.utils.cpp_extension": "compiles code",
    "torch.utils.model_zoo": "downloads",
    "numpy.load": "unpickles",
    "numpy.save": "writes files",
    "numpy.fromfile": "reads files",
    "numpy.memmap": "writes files",
    "numpy.f2py": "compiles code",
    "numpy.ctypeslib": "loads libraries",
    "numpy.DataSource": "downloads",
    "monai.utils.module": "imports by name",
    "monai.utils.optional_import": "imports by name",
    "monai.utils.instantiate": "imports by name",
    "monai.utils.load_submodules": "imports by name",
    "monai.utils.run_cmd": "runs commands",
    "monai.utils.misc": "runs commands",
    "monai.auto3dseg": "unpickles and runs commands",
    "monai.apps.auto3dseg": "unpickles and runs commands",
    "monai.apps.nnunet": "runs commands",
    "monai.fl": "runs other configurations",
    "monai.bundle": "runs other configurations",
    "medtl_monai.cli": "runs commands",
    "medtl_monai.demo": "runs commands",
    "monai.config": "runs commands",
}
_APPS = """
    CrossValidation DecathlonDataset MedNISTDataset TciaDataset download_and_extract download_mmar
    download_tcia_series_instance download_url extractall load_from_mmar
    """
DOWNLOADING_DOTTED = (
    *("torch.hub", "monai.apps.utils", "monai.apps.datasets", "monai.apps.mmars", "monai.apps.tcia"),
    *(f"monai.apps.{name}" for name in sorted(words(_APPS))),
    *(
        "monai.bundle.download",
        "monai.bundle.download_large_files",
        "monai.bundle.load",
        "monai.bundle.scripts.download",
    ),
    *("torchvision.models", "torchvision.datasets", "medtl_monai.weights"),
)
# MONAI classes that download unless they are told not to, with the argument that has to be false.
DOWNLOADS_BY_DEFAULT = ("EfficientNetBN", "EfficientNetBNFeatures", "MILModel", "ResNetFeatures")
ALWAYS_DOWNLOADS = ("PerceptualLoss", "MedicalNetPerceptualSimilarity", "RadImageNetPerceptualSimilarity")
DOWNLOAD_ARGUMENTS = ("pretrained", "download")
# Arguments of MONAI classes whose text is looked up and called like a `_target_`.
NAMING_ARGUMENTS = ("reader", "writer", "merger_cls")
# Their classes: only as components, where every argument has its name.
_NAMING = ("LoadImage", "SaveImage")
NAMING_CLASSES = frozenset(f"{name}{ending}" for name in _NAMING for ending in ("", "d", "D", "Dict")) | {
    "ImageDataset",
    "FlexUNet",
    "FlexUNetEncoderRegister",
    "FlexibleUNetEncoder",
    "ImageWriter",
    "PatchInferer",
}

_FUNCTIONAL = """
    avg_pool2d avg_pool3d binary_cross_entropy_with_logits cross_entropy gelu grid_sample interpolate l1_loss
    log_softmax max_pool2d max_pool3d mse_loss normalize one_hot pad relu sigmoid softmax
    """
# Modules whose classes may be components, and the functions of theirs that may be.
CLASS_MODULES = {
    "torch.nn": "",
    "torch.nn.parallel": "",
    "torch.nn.modules": "",
    "torch.nn.modules.loss": "",
    "torch.nn.functional": _FUNCTIONAL,
    "torch.optim": "",
    "torch.optim.lr_scheduler": "",
    "torch.utils.data": "",
    "torch.utils.data.distributed": "",
    "torch.utils.tensorboard": "",
    "torch.amp": "",
    "torch.cuda.amp": "",
    "ignite.engine": "",
    "ignite.metrics": "",
    "ignite.handlers": "",
    "ignite.handlers.param_scheduler": "",
    "ignite.contrib.handlers": "",
    "torchvision.transforms": "",
}
MONAI_ROOMS = (
    *("monai.data", "monai.engines", "monai.handlers", "monai.inferers", "monai.losses", "monai.metrics"),
    *("monai.networks", "monai.optimizers", "monai.transforms", "monai.visualize"),
    *(f"monai.apps.{n}" for n in ("deepedit", "deepgrow", "detection", "generation", "nuclick")),
    *(f"monai.apps.{n}" for n in ("pathology", "reconstruction", "vista3d")),
)
OWN_ROOMS = (
    *("medtl_monai.data", "medtl_monai.io.reader", "medtl_monai.io.writer", "medtl_monai.transforms"),
    *("medtl_monai.networks", "medtl_monai.transfer", "medtl_monai.inference", "medtl_monai.workflows"),
)
MONAI_FUNCTIONS = words(
    """
    copy_model_state create_test_image_2d create_test_image_3d decollate_batch default_prepare_batch from_engine
    list_data_collate load_decathlon_datalist no_collation normal_init one_hot pad_list_data_collate partition_dataset
    partition_dataset_classes predict_segmentation resnet_fpn_feature_extractor select_cross_validation_folds
    set_determinism sliding_window_inference stopping_fn_from_loss stopping_fn_from_metric
    """
)
DETERMINISM = ("set_determinism", "monai.utils.set_determinism")

# Expressions. Strict: what the bundles of this library need, and no more.
STRICT_MODULES = ("monai", "torch", "torch.distributed", "numpy", "os")
STRICT_VALUES = words(
    """
    monai.handlers.from_engine monai.utils.set_determinism numpy.uint8 torch.cuda.is_available torch.cuda.set_device
    torch.device torch.distributed.destroy_process_group torch.distributed.init_process_group
    torch.distributed.is_initialized
    """
)
STRICT_BUILTINS = frozenset({"len", "int", "float", "str", "list", "dict", "tuple"})
STRICT_ATTRIBUTES = frozenset({"architecture", "run", "to", "transforms"})
# Default: what the bundles of the model zoo need.
DEFAULT_MODULES = (
    *STRICT_MODULES,
    *("copy", "functools", "glob", "ignite", "itertools", "json", "logging", "math", "random", "time"),
    *("medtl_monai", "scipy", "skimage", "sklearn", "torchvision", "warnings", "os.path", "torch.nn.functional"),
)
_NUMPY = """
    abs all any arange argmax argmin argsort array asarray ascontiguousarray clip concatenate cos deg2rad dtype
    empty exp expand_dims eye float16 float32 float64 full inf int16 int32 int64 int8 isnan linspace log mean
    median max min nan newaxis ones percentile pi prod round sin sort sqrt squeeze stack std sum transpose
    uint16 uint32 uint64 uint8 unique where zeros
    """
_TORCH = """
    argmax as_tensor backends.cudnn.benchmark bfloat16 bool cat cuda.current_device cuda.device_count
    cuda.is_bf16_supported clamp device double empty float float16 float32 float64 from_numpy full half int int16 int32
    int64 int8 linspace long manual_seed max mean min no_grad ones randn sigmoid softmax stack sum tensor uint8
    unsqueeze where zeros distributed.get_rank distributed.get_world_size distributed.barrier inference_mode
    nn.init.xavier_uniform_ squeeze permute
    """
_OTHER = """
    copy.copy copy.deepcopy functools.partial functools.reduce glob.glob glob.iglob itertools.chain itertools.product
    itertools.repeat logging.DEBUG logging.ERROR logging.INFO logging.WARNING logging.getLogger os.path.abspath
    os.path.basename os.path.dirname os.path.exists os.path.isdir os.path.isfile os.path.join os.path.normpath
    os.path.splitext os.sep
    """
_MATH = "ceil cos exp floor gcd inf isqrt log log10 log2 nan pi prod sin sqrt tau"
DEFAULT_VALUES = frozenset(
    (
        *STRICT_VALUES,
        *(f"numpy.{name}" for name in _NUMPY.split()),
        *(f"torch.{name}" for name in _TORCH.split()),
        *_OTHER.split(),
        *(f"math.{name}" for name in _MATH.split()),
    )
)
DEFAULT_BUILTINS = STRICT_BUILTINS | words(
    """
    abs all any bool enumerate filter isinstance map max min next print range reversed round set slice sorted sum zip
    """
)
GLOBALS = {"monai": "monai", "torch": "torch", "np": "numpy", "numpy": "numpy"}  # what MONAI imports unasked

# Attributes of any object that lead to code, files or other objects' insides.
FORBIDDEN_ATTRIBUTES = FORBIDDEN_WITHIN | words(
    """
    Popen call check_call check_output chmod connect download download_url dump exec exec_module execv exit
    find_spec fork format format_map from_pretrained func_globals getoutput globals hardlink_to import_module kill
    lchmod load_library load_module load_state_dict_from_url load_url loads mkdir mro mro_entries open popen
    push_to_hub read_bytes read_text remove rename rmdir rmtree run_cmd save save_pretrained spawn startfile
    symlink_to system tofile touch unlink urlopen urlretrieve write_bytes write_text
    """
)
FORBIDDEN_ATTRIBUTE_STARTS = ("_", "gi_", "cr_", "ag_", "tb_", "f_", "co_", "func_")
