# SPDX-License-Identifier: Apache-2.0
"""ScaNTK from Python: neural tangent kernels of ONNX networks. Needs numpy; mpi4py for more than
one rank.

    import numpy, scantk
    with scantk.Context() as context:                    # or Context(comm) of mpi4py
        model = context.model("net.onnx")
        data = context.rows(numpy.random.randn(100, 784))    # this rank's samples
        plan = context.plan(model, data, options="--dtype f64")
        K = plan.to_array()                              # [N1, O, N2, O]
        plan.to_file("kernel.h5")

Everything is collective over the context's ranks; the C headers (include/scantk) say what each call
does. Objects end with their context, or by close(), in the order plan, data, model, on all ranks
alike: they are never freed by Python's collector. The library is libscantk, beside this file's own
installation, where the loader finds it, or named by SCANTK_LIBRARY."""
import atexit
import ctypes
import ctypes.util
import glob
import os

import numpy as np

_HERE = os.path.dirname(os.path.abspath(__file__))
_TYPES = ["f4", "f8", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?"]  # of ntk_dtype
_DTYPES = {np.dtype(name): number for number, name in enumerate(_TYPES)}
_I64, _INT, _PTR, _TEXT = ctypes.c_int64, ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p
_ARGUMENT = 1  # NTK_ERR_ARGUMENT
REDUCTIONS = ["none", "trace", "diagonal", "pseudo"]


class Error(RuntimeError):
    """A call failed, on all ranks; `status` is the library's."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class _Struct(ctypes.Structure):
    def __repr__(self):
        return ", ".join(f"{name}={getattr(self, name)}" for name, _ in self._fields_)


class ModelInfo(_Struct):
    _fields_ = [(name, _I64) for name in ("parameter_tensors", "parameters", "outputs")]


class ParameterInfo(_Struct):
    _fields_ = [("name", _TEXT), ("count", _I64), ("ndim", _INT), ("shape", _I64 * 8)]


class PlanInfo(_Struct):
    _fields_ = [("reduction", _INT), ("rows", _I64), ("columns", _I64), ("outputs", _I64),
                ("block", _I64), ("outputs_block", _I64), ("tiles", _I64),
                ("element_bytes", _INT), ("symmetric", ctypes.c_bool), ("grid_rows", _INT),
                ("grid_columns", _INT), ("grid_depth", _INT), ("minimal_flops", ctypes.c_double)]


class Tile(_Struct):
    """Where a tile stands: samples and outputs of rows and columns."""
    _fields_ = [(f"{side}_{what}", _I64) for side in ("row", "column")
                for what in ("first", "count", "output", "outputs")]


class _Report(_Struct):
    _fields_ = [("kind", _INT), ("text", _TEXT), ("fraction", ctypes.c_double),
                ("seconds_left", ctypes.c_double)]


_TILE_FN = ctypes.CFUNCTYPE(_INT, ctypes.POINTER(Tile), _PTR, _PTR)
_SAMPLES_FN = ctypes.CFUNCTYPE(_INT, _I64, _I64, _PTR, _PTR)
_REPORT_FN = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Report), _PTR)

# Arguments of what returns a status; OUT is a new handle.
_OUT = ctypes.POINTER(_PTR)
_CALLS = {
    "ntk_context_create_f": [_INT, _TEXT, _OUT],
    "ntk_model_read": [_PTR, _TEXT, _TEXT, _OUT],
    "ntk_model_from_memory": [_PTR, _TEXT, ctypes.c_size_t, _TEXT, _OUT],
    "ntk_model_set_parameter": [_PTR, _TEXT, _INT, _I64, _PTR],
    "ntk_data_read_for": [_PTR, _TEXT, _TEXT, _OUT],
    "ntk_data_from_rows": [_PTR, _I64, _INT, _INT, _PTR, _PTR, _OUT],
    "ntk_data_from_function": [_PTR, _I64, _INT, _INT, _PTR, _SAMPLES_FN, _PTR, _OUT],
    "ntk_plan_create": [_PTR, _PTR, _PTR, _TEXT, _OUT],
    "ntk_plan_to_file": [_PTR, _TEXT, _TEXT, _TEXT],
    "ntk_plan_to_tiles": [_PTR, _TILE_FN, _PTR],
    "ntk_plan_to_matrix": [_PTR, _PTR, _INT, _PTR],
}


def _places():
    """Where the library may be: named, beside this file's installation, built from these sources,
    or where the loader looks."""
    yield os.environ.get("SCANTK_LIBRARY")
    for place in ("../../../lib*/libscantk.so", "../../../lib/*/libscantk.so",
                  "../build/libscantk.so"):
        yield from sorted(glob.glob(os.path.join(_HERE, place)))
    yield ctypes.util.find_library("scantk")


def _load():
    for place in filter(None, _places()):
        return ctypes.CDLL(place, mode=ctypes.RTLD_GLOBAL)  # MPI's plug-ins look for its symbols
    raise ImportError("libscantk is not found; SCANTK_LIBRARY may name it")


_lib = _load()
for _name, _arguments in _CALLS.items():
    getattr(_lib, _name).argtypes = _arguments
_lib.ntk_context_error.argtypes, _lib.ntk_context_error.restype = [_PTR], _TEXT
_lib.ntk_context_report.argtypes = [_PTR, _REPORT_FN, _PTR]
_lib.ntk_model_get_info.argtypes, _lib.ntk_model_get_info.restype = [_PTR], ModelInfo
_lib.ntk_model_parameter.argtypes = [_PTR, _INT, ctypes.POINTER(ParameterInfo)]
_lib.ntk_model_parameter.restype = ctypes.c_bool
_lib.ntk_data_samples.argtypes, _lib.ntk_data_samples.restype = [_PTR], _I64
_lib.ntk_plan_get_info.argtypes = [_PTR, ctypes.POINTER(PlanInfo)]
for _name in ("context", "model", "data", "plan"):
    getattr(_lib, f"ntk_{_name}_destroy").argtypes = [_OUT]


def _check(status):
    if status != 0:
        raise Error(status, _lib.ntk_context_error(None).decode(errors="replace"))


def _bytes(text):
    return None if text is None else os.fsencode(text)


# ---- MPI -------------------------------------------------------------------------------

def _start_mpi():
    """MPI_Init, where nobody did it, and the Fortran handle of MPI_COMM_WORLD."""
    flag = _INT(0)
    _lib.MPI_Initialized(ctypes.byref(flag))
    if not flag.value:
        _lib.MPI_Init_thread(None, None, 1, ctypes.byref(_INT()))  # FUNNELED is 1 everywhere
        atexit.register(_end_mpi)
    version = ctypes.create_string_buffer(8192)
    _lib.MPI_Get_library_version(version, ctypes.byref(_INT()))
    return 0 if version.value.startswith(b"Open MPI") else 0x44000000  # MPICH's and its kin's


def _end_mpi():
    flag = _INT(0)
    _lib.MPI_Finalized(ctypes.byref(flag))
    if not flag.value:
        _lib.MPI_Finalize()


def _handle_of(comm):
    if comm is None:
        try:
            from mpi4py import MPI
            comm = MPI.COMM_WORLD
        except ImportError:
            return _start_mpi()
    return comm if isinstance(comm, int) else comm.py2f()


# ---- objects ---------------------------------------------------------------------------

class _Handle:
    """One of the library's, owned."""
    kind = ""

    def __init__(self, call, *arguments):
        self.handle = _PTR()
        _check(getattr(_lib, call)(*arguments, ctypes.byref(self.handle)))

    def close(self):
        if self.handle:
            getattr(_lib, f"ntk_{self.kind}_destroy")(ctypes.byref(self.handle))


class Context(_Handle):
    """The library on a communicator: mpi4py's, a Fortran handle, or all ranks. `report`, a function
    of (kind, text), gets the lines of the log on rank 0."""
    kind = "context"

    def __init__(self, comm=None, options=None, report=None):
        super().__init__("ntk_context_create_f", _handle_of(comm), _bytes(options))
        self.rank = _lib.ntk_context_rank(self.handle)
        self.size = _lib.ntk_context_size(self.handle)
        self.comm = comm
        self._owned = []
        if report:
            self._report = _REPORT_FN(lambda r, _: report(
                r.contents.kind, r.contents.text.decode(errors="replace")))
            _lib.ntk_context_report(self.handle, self._report, None)

    def _own(self, item):
        self._owned.append(item)
        return item

    def model(self, source, options=None):
        """Of an ONNX file's path, or of its bytes."""
        return self._own(Model(self, source, options))

    def rows(self, array):
        """Samples: this rank's [n, ...], first those of rank 0. The array is borrowed: its values
        may change between executions."""
        return self._own(Data.of_rows(self, array))

    def function(self, samples, shape, function, dtype="f8"):
        """Samples that function(first, out) fills, out being an array [count, *shape]."""
        return self._own(Data.of_function(self, samples, shape, function, dtype))

    def read(self, model, path, options=None):
        """Samples of a file, for a model."""
        return self._own(Data("ntk_data_read_for", model.handle, _bytes(path), _bytes(options)))

    def plan(self, model, rows, columns=None, options=None):
        return self._own(Plan(self, model, rows, columns, options))

    def close(self):
        while self._owned:
            self._owned.pop().close()
        super().close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Model(_Handle):
    kind = "model"

    def __init__(self, context, source, options):
        if isinstance(source, (bytes, bytearray)):
            super().__init__("ntk_model_from_memory", context.handle, bytes(source), len(source),
                             _bytes(options))
        else:
            super().__init__("ntk_model_read", context.handle, _bytes(source), _bytes(options))

    @property
    def info(self):
        return _lib.ntk_model_get_info(self.handle)

    @property
    def parameters(self):
        """Shapes by name."""
        shapes, info = {}, ParameterInfo()
        while _lib.ntk_model_parameter(self.handle, len(shapes), ctypes.byref(info)):
            shapes[info.name.decode()] = tuple(info.shape[:info.ndim])
        return shapes

    def set_parameter(self, name, values):
        """Rank 0's values count; f32 stays f32, everything else becomes f64."""
        values = np.asarray(values)
        values = np.ascontiguousarray(values, "f4" if values.dtype == "f4" else "f8")
        due = self.parameters.get(name)
        if due is not None and due != values.shape:
            raise ValueError(f"{name}: {values.shape}, in the model {due}")
        _check(_lib.ntk_model_set_parameter(self.handle, name.encode(), _DTYPES[values.dtype],
                                            values.size, values.ctypes.data))


class Data(_Handle):
    kind = "data"

    @classmethod
    def of_rows(cls, context, array):
        array = np.ascontiguousarray(array)
        if array.dtype not in _DTYPES:
            raise TypeError(f"rows of type {array.dtype}")
        shape = (_I64 * 8)(*array.shape[1:])
        data = cls("ntk_data_from_rows", context.handle, len(array), _DTYPES[array.dtype],
                   array.ndim - 1, shape, array.ctypes.data)
        data.array = array  # which is read as long as this lives
        return data

    @classmethod
    def of_function(cls, context, samples, shape, function, dtype):
        dtype, keeper = np.dtype(dtype), _Keeper()

        def fill(first, count, out, _):
            size = int(np.prod(shape)) * count * dtype.itemsize
            values = np.frombuffer((ctypes.c_char * size).from_address(out), dtype)
            return keeper.call(function, first, values.reshape(count, *shape))

        callback = _SAMPLES_FN(fill)
        data = cls("ntk_data_from_function", context.handle, samples, _DTYPES[dtype], len(shape),
                   (_I64 * 8)(*shape), callback, None)
        data.callback, data.keeper = callback, keeper
        return data

    def __len__(self):
        return _lib.ntk_data_samples(self.handle)


class _Keeper:
    """Calls Python from C: an exception becomes a status there and is raised again here."""
    problem = None

    def call(self, function, *arguments):
        try:
            function(*arguments)
            return 0
        except Exception as problem:  # whatever it is, it must not unwind C
            self.problem = problem
            return _ARGUMENT

    def check(self, status):
        problem, self.problem = self.problem, None
        if problem:
            raise problem
        _check(status)


class Plan(_Handle):
    kind = "plan"

    def __init__(self, context, model, rows, columns, options):
        super().__init__("ntk_plan_create", model.handle, rows.handle,
                         columns.handle if columns else None, _bytes(options))
        self.context, self.sides = context, [rows, columns]

    @property
    def info(self):
        info = PlanInfo()
        _lib.ntk_plan_get_info(self.handle, ctypes.byref(info))
        return info

    def _run(self, call, *arguments, keepers=()):
        status = getattr(_lib, call)(self.handle, *arguments)
        for side in filter(None, self.sides):
            keepers = (*keepers, getattr(side, "keeper", None))
        for keeper in filter(None, keepers):
            if keeper.problem:
                keeper.check(status)
        _check(status)

    def to_file(self, path, options=None):
        self._run("ntk_plan_to_file", _bytes(path), _bytes(options), None)

    def tiles(self, function):
        """Calls function(tile, values) for each tile of this rank; values are the library's: copy
        what is to stay."""
        info, keeper = self.info, _Keeper()
        dtype = np.dtype("f4" if info.element_bytes == 4 else "f8")

        def take(tile, values, _):
            t = tile.contents
            shape = _axes(info.reduction, t.row_count, t.row_outputs, t.column_count,
                           t.column_outputs)
            size = int(np.prod(shape)) * dtype.itemsize
            array = np.frombuffer((ctypes.c_char * size).from_address(values), dtype)
            return keeper.call(function, t, array.reshape(shape))

        self._run("ntk_plan_to_tiles", _TILE_FN(take), None, keepers=(keeper,))

    def to_array(self):
        """The whole kernel on every rank: [N1, O, N2, O]; trace and pseudo [N1, N2]; diagonal
        [O, N1, N2]."""
        info = self.info
        kernel = np.zeros(_axes(info.reduction, info.rows, info.outputs, info.columns,
                                 info.outputs), "f4" if info.element_bytes == 4 else "f8")

        def place(t, values):
            n = slice(t.row_first, t.row_first + t.row_count)
            m = slice(t.column_first, t.column_first + t.column_count)
            o = slice(t.row_output, t.row_output + t.row_outputs)
            p = slice(t.column_output, t.column_output + t.column_outputs)
            kernel[_axes(info.reduction, n, o, m, p)] = values

        self.tiles(place)
        if self.context.size > 1:
            self._add_ranks(kernel)
        return kernel

    def _add_ranks(self, kernel):
        """Each element stands on one rank, and is zero on the others."""
        try:
            from mpi4py import MPI
        except ImportError:
            raise RuntimeError("to_array on several ranks needs mpi4py; tiles, to_file and "
                               "to_matrix do not") from None
        comm = self.context.comm
        if comm is None or isinstance(comm, int):
            comm = MPI.Comm.f2py(comm) if comm is not None else MPI.COMM_WORLD
        flat = kernel.reshape(-1)
        for first in range(0, flat.size, 1 << 27):  # counts of MPI are ints
            comm.Allreduce(MPI.IN_PLACE, flat[first:first + (1 << 27)])

    def to_matrix(self, desc, local):
        """Into this rank's part of a matrix of ScaLAPACK, a column-major (Fortran) array; None
        outside the grid."""
        desc = np.ascontiguousarray(desc, "i4")
        if local is not None and not local.flags.f_contiguous:
            raise ValueError("the part of the matrix must be column-major (order='F')")
        dtype = _DTYPES[local.dtype] if local is not None else 1
        self._run("ntk_plan_to_matrix", desc.ctypes.data, dtype,
                  None if local is None else local.ctypes.data)


def _axes(reduction, n, o, m, p):
    """The axes that a kernel has."""
    return [(n, o, m, p), (n, m), (o, n, m), (n, m)][reduction]
