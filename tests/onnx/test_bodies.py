#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Functions, If, Loop, Scan, attention, and norms of the newer opsets: kernels equal those of the same network written out, and what
cannot be written out is refused in one line. Exits 77 without Python's onnx."""
import os
import subprocess
import sys
import tempfile
import unittest

try:
    import h5py
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

SCANTK = os.path.abspath(os.environ.get("SCANTK", "build/bin/scantk"))
RANDOM = np.random.default_rng(0)
WEIGHTS = {"w": RANDOM.normal(size=(4, 4)), "v": RANDOM.normal(size=(4, 4)),
           "b": RANDOM.normal(size=4), "head": RANDOM.normal(size=(4, 2))}


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def constant(name, value, dtype=np.int64):
    return helper.make_node("Constant", [], [name],
                            value=numpy_helper.from_array(np.array(value, dtype)))


def info(name, shape=None, dtype=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def model_of(nodes, shape=("batch", 4), functions=(), used="w v b head", opset=16):
    initializers = [numpy_helper.from_array(WEIGHTS[n].astype(np.float32), n)
                    for n in used.split()]
    graph = helper.make_graph(nodes, "g", [info("x", shape)], [info("y")], initializers)
    domains = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=domains, functions=functions)


def kernel(model, shape=(4,), algorithm="auto"):
    """(kernel, "") or (None, the one line that refuses the model)."""
    x = np.random.default_rng(1).normal(size=(5, *shape))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        onnx.save(model, folder + "/m.onnx")
        with h5py.File(folder + "/x.h5", "w") as file:
            file["x"] = x
        variables = dict(os.environ, OMPI_MCA_orte_tmpdir_base=folder, OMPI_ALLOW_RUN_AS_ROOT="1",
                         OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
        done = subprocess.run([SCANTK, "kernel", "--model", "m.onnx", "--inputs", "x.h5:/x",
                               "--output", "k.h5", "--dtype", "f64", "--algorithm", algorithm,
                               "--quiet"], cwd=folder, env=variables, capture_output=True,
                              text=True, timeout=100)
        if done.returncode != 0:
            return None, done.stderr.strip()
        with h5py.File(folder + "/k.h5") as file:
            return file["kernel"][()], ""


def reference(name):
    attribute = onnx.AttributeProto(name=name, ref_attr_name="slope",
                                    type=onnx.AttributeProto.FLOAT)
    return attribute


def dense_function(default=None):
    """own.Dense(x, w, b; slope): LeakyRelu(x w + b); without a slope: the default."""
    nodes = [node("MatMul", "X W", "h"), node("Add", "h B", "s"), node("LeakyRelu", "s", "Y"),
             node("Softmax", "s", "unused")]
    nodes[2].attribute.append(reference("alpha"))
    function = helper.make_function("own", "Dense", ["X", "W", "B"], ["Y", "unused"], nodes,
                                    [helper.make_opsetid("", 16)], ["slope"])
    if default is not None:
        inner = helper.make_attribute("slope", default).SerializeToString()
        function.MergeFromString(b"\x5a" + bytes([len(inner)]) + inner)
    return function


def scan(body_nodes, inputs, outputs, body_inputs, body_outputs, **attributes):
    body = helper.make_graph(body_nodes, "body", [info(n) for n in body_inputs.split()],
                             [info(n) for n in body_outputs.split()])
    return node("Scan", inputs, outputs, body=body, **attributes)


PLAIN = [node("MatMul", "x w", "h1"), node("Add", "h1 b", "s1"),
         node("LeakyRelu", "s1", "a1", alpha=0.25), node("MatMul", "a1 v", "h2"),
         node("Add", "h2 b", "s2"), node("LeakyRelu", "s2", "a2", alpha=0.5),
         node("MatMul", "a2 head", "y")]


class Bodies(unittest.TestCase):
    def same(self, model, plain, shape=(4,)):
        expected, why = kernel(plain, shape)
        self.assertIsNotNone(expected, why)
        for algorithm in ("auto", "jacobian", "ntvp"):
            found, why = kernel(model, shape, algorithm)
            self.assertIsNotNone(found, why)
            self.assertLess(np.abs(found - expected).max() / np.abs(expected).max(), 1e-12)

    def refused(self, model, text, shape=(4,)):
        found, why = kernel(model, shape)
        self.assertIsNone(found)
        self.assertEqual(len([w for w in why.splitlines() if "warning" not in w]), 1, why)
        self.assertIn(text, why)

    def test_functions(self):
        outer = [node("Dense", "X W B", "h", domain="own"), node("Dense", "h V B", "Y", domain="own")]
        outer[0].attribute.append(helper.make_attribute("slope", 0.25))
        outer[1].attribute.append(reference("slope"))
        two = helper.make_function("own", "Two", ["X", "W", "V", "B"], ["Y"], outer,
                                   [helper.make_opsetid("", 16), helper.make_opsetid("own", 1)],
                                   ["slope"])
        calls = [node("Two", "x w v b", "a2", domain="own", slope=0.5),
                 node("MatMul", "a2 head", "y")]
        self.same(model_of(calls, functions=[dense_function(), two]), model_of(PLAIN))

    def test_default_attribute(self):
        calls = [node("Dense", "x w b", "a1", domain="own"),
                 node("Dense", "a1 v b", "a2", domain="own", slope=0.5),
                 node("MatMul", "a2 head", "y")]
        self.same(model_of(calls, functions=[dense_function(0.25)]), model_of(PLAIN))

    def test_recursion(self):
        function = helper.make_function("own", "Dense", ["X", "W", "B"], ["Y"],
                                        [node("Dense", "X W B", "Y", domain="own")],
                                        [helper.make_opsetid("own", 1)], [])
        self.refused(model_of([node("Dense", "x w b", "a", domain="own"), node("Add", "a v", "c"),
                               node("MatMul", "c head", "y")], functions=[function]), "nested")

    def branches(self, condition):
        inside = [node("MatMul", "x w", "h1"), node("Add", "h1 own_b", "s1"),
                  node("LeakyRelu", "s1", "a", alpha=0.25)]
        own = numpy_helper.from_array(WEIGHTS["b"].astype(np.float32), "own_b")
        then = helper.make_graph(inside, "then", [], [info("a")], [own])
        other = helper.make_graph([node("Foreign", "x", "z", domain="no")], "other", [], [info("z")])
        return condition + [node("If", "cond", "a1", then_branch=then, else_branch=other),
                            node("MatMul", "a1 head", "y")]

    def test_if(self):
        size = [node("Shape", "v", "shape"), constant("place", 1), node("Gather", "shape place", "n"),
                constant("four", 4), node("Equal", "n four", "cond")]
        plain = PLAIN[:3] + [node("MatMul", "a1 head", "y")]
        self.same(model_of(self.branches(size), used="w head v"), model_of(plain, used="w b head"))

    def test_if_of_data(self):
        of_data = [node("ReduceSum", "x", "cond", keepdims=0)]
        self.refused(model_of(self.branches(of_data), used="w head"), "not known before")

    def looping(self, condition=(), count=True):
        """h = h + tanh(h w + i), twice; the turns' tanh collected."""
        nodes = [node("MatMul", "h w", "p"), node("Cast", "i", "f", to=TensorProto.FLOAT),
                 node("Add", "p f", "s"), node("Tanh", "s", "t"), node("Add", "h t", "next"),
                 *(condition or [node("Identity", "go", "on")])]
        body = helper.make_graph(nodes, "body", [info("i", [], TensorProto.INT64),
                                                 info("go", [], TensorProto.BOOL), info("h")],
                                 [info("on", [], TensorProto.BOOL), info("next"), info("t")])
        return [constant("trips", 2), constant("yes", True, np.bool_),
                helper.make_node("Loop", ["trips" if count else "", "yes", "x"], ["last", "all"],
                                 body=body),
                constant("first", [0]),
                node("ReduceSum", "all first", "sum", keepdims=0), node("Add", "last sum", "a"),
                node("MatMul", "a head", "y")]

    def unrolled(self):
        return [node("MatMul", "x w", "p0"), node("Tanh", "p0", "t0"), node("Add", "x t0", "h1"),
                node("MatMul", "h1 w", "p1"), constant("one", 1, np.float32),
                node("Add", "p1 one", "s1"), node("Tanh", "s1", "t1"), node("Add", "h1 t1", "h2"),
                node("Add", "t0 t1", "sum"), node("Add", "h2 sum", "a"), node("MatMul", "a head", "y")]

    def test_loop(self):
        self.same(model_of(self.looping(), used="w head"), model_of(self.unrolled(), used="w head"))

    def test_loop_that_ends_itself(self):
        ends = [constant("zero", 0), node("Equal", "i zero", "on")]
        self.same(model_of(self.looping(ends, False), used="w head"),
                  model_of(self.unrolled(), used="w head"))

    def test_loop_of_data(self):
        of_data = [node("ReduceSum", "h", "on", keepdims=0)]
        self.refused(model_of(self.looping(of_data), used="w head"), "not known before")

    def test_endless_loop(self):
        self.refused(model_of(self.looping(count=False), used="w head"), "turns")

    def cell(self, **attributes):
        """h = tanh(x_t w + h v + b) over axis 1; also all h, along axis 1."""
        nodes = [node("MatMul", "xt w", "p"), node("MatMul", "h v", "q"), node("Add", "p q", "s"),
                 node("Add", "s b", "s2"), node("Tanh", "s2", "next"), node("Identity", "next", "all")]
        return [constant("first", 0), node("Gather", "x first", "x0", axis=1),
                node("Sub", "x0 x0", "zero"),
                scan(nodes, "zero x", "last steps", "h xt", "next all", num_scan_inputs=1,
                     scan_input_axes=[1], scan_output_axes=[1], **attributes),
                constant("axis", [1]), node("ReduceSum", "steps axis", "a", keepdims=0),
                node("MatMul", "a head", "y")]

    def recurrent(self, direction):
        """The same by RNN."""
        return [constant("zero", [0]), constant("axis", [1]), constant("ends", [4, 4]),
                node("Transpose", "x", "xt", perm=[1, 0, 2]), node("Transpose", "w", "wt", perm=[1, 0]),
                node("Transpose", "v", "vt", perm=[1, 0]), node("Unsqueeze", "wt zero", "W"),
                node("Unsqueeze", "vt zero", "R"), constant("none", np.zeros(4), np.float32),
                node("Concat", "b none", "bb", axis=0), node("Unsqueeze", "bb zero", "B"),
                node("RNN", "xt W R B", "Y", hidden_size=4, direction=direction),
                node("Squeeze", "Y axis", "S"), node("ReduceSum", "S zero", "a", keepdims=0),
                node("MatMul", "a head", "y")]

    def test_scan(self):
        for direction in (0, 1):
            self.same(model_of(self.cell(scan_input_directions=[direction]), ("batch", 3, 4)),
                      model_of(self.recurrent("reverse" if direction else "forward"),
                               ("batch", 3, 4)), (3, 4))

    def test_scan_over_samples(self):
        nodes = [node("MatMul", "xt w", "p"), node("Add", "p h", "next"), node("Identity", "next", "z")]
        over = [constant("h0", np.zeros(4), np.float32),
                scan(nodes, "h0 x", "last a", "h xt", "next z", num_scan_inputs=1),
                node("MatMul", "a head", "y")]
        self.refused(model_of(over, used="w head"), "batch")

    def attention(self, **attributes):
        return [node("MatMul", "x w", "q"), node("MatMul", "x v", "k"),
                node("Attention", "q k x", "z", q_num_heads=2, kv_num_heads=2, **attributes),
                constant("axis", [1]), node("ReduceSum", "z axis", "a", keepdims=0),
                node("MatMul", "a head", "y")]

    def test_attention(self):
        split = [constant("split", [0, 3, 2, 2])]
        for name in "qkx":
            split += [node("Reshape", name + " split", name + "r"),
                      node("Transpose", name + "r", name + "h", perm=[0, 2, 1, 3])]
        for causal in (0, 1):
            mask = np.triu(np.full((3, 3), -1e30 * causal), 1)
            plain = self.attention()[:2] + split + [
                node("Transpose", "kh", "kt", perm=[0, 1, 3, 2]), node("MatMul", "qh kt", "s"),
                constant("scale", 0.5, np.float32), node("Mul", "s scale", "s2"),
                constant("mask", mask, np.float32), node("Add", "s2 mask", "s3"),
                node("Softmax", "s3", "p", axis=-1), node("MatMul", "p xh", "zh"),
                node("Transpose", "zh", "zt", perm=[0, 2, 1, 3]), constant("join", [0, 3, 4]),
                node("Reshape", "zt join", "z")] + self.attention()[3:]
            self.same(model_of(self.attention(scale=0.5, is_causal=causal), ("batch", 3, 4),
                               used="w v head", opset=23),
                      model_of(plain, ("batch", 3, 4), used="w v head"), (3, 4))

    def test_rms_norm(self):
        one = [node("MatMul", "x w", "h"),
               node("RMSNormalization", "h b", "n", axis=-1, epsilon=0.5), node("MatMul", "n head", "y")]
        plain = [one[0], node("Mul", "h h", "s"), node("ReduceMean", "s", "m", axes=[1]),
                 constant("half", 0.5, np.float32), node("Add", "m half", "e"), node("Sqrt", "e", "r"),
                 node("Div", "h r", "d"), node("Mul", "d b", "n"), one[2]]
        self.same(model_of(one, used="w b head", opset=23), model_of(plain, used="w b head"))

    def test_group_norm(self):
        """From opset 21 on a gain for each channel, before for each group."""
        for opset in (18, 21):
            gain = "b" if opset == 21 else "g"
            cut = [constant("no", [0]), constant("two", [2]), node("Slice", "b no two no", "g")]
            head = [constant("flat", [-1, 4]), constant("axis", [2]),
                    node("ReduceSum", "n axis", "f", keepdims=0), node("MatMul", "f head", "y")]
            norm = cut + [node("GroupNormalization", f"x {gain} {gain}", "n", num_groups=2,
                               epsilon=0.5)] + head
            ones = [constant("eins", np.ones(2), np.float32), constant("null", np.zeros(2), np.float32),
                    constant("split", [0, 2, 6]), constant("join", [0, 4, 3]),
                    constant("group", [2, 1]), constant("channel", [4, 1]),
                    node("Reshape", "x split", "xr"),
                    node("InstanceNormalization", "xr eins null", "nr", epsilon=0.5)]
            if opset == 18:
                ones += cut + [node("Reshape", "g group", "gr"), node("Mul", "nr gr", "sr"),
                               node("Add", "sr gr", "ar"), node("Reshape", "ar join", "n")]
            else:
                ones += [node("Reshape", "nr join", "nj"), node("Reshape", "b channel", "br"),
                         node("Mul", "nj br", "s"), node("Add", "s br", "n")]
            self.same(model_of(norm, ("batch", 4, 3), used="b head", opset=opset),
                      model_of(ones + head, ("batch", 4, 3), used="b head"), (4, 3))

    def test_sequences(self):
        self.refused(model_of([node("SequenceConstruct", "x w", "s"), constant("first", 0),
                               node("SequenceAt", "s first", "a"), node("MatMul", "a head", "y")],
                              used="w head"), "SequenceConstruct")


if __name__ == "__main__":
    unittest.main()
