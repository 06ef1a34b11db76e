# SPDX-License-Identifier: Apache-2.0
"""What of ONNX's conformance cases is refused (test_conformance.py): a line less here for each thing
that has come in. A case that is listed and passes is a failure."""

# Cases by name, and what of them is not supported.
CASES = [
    ("*STRING*", "strings"),
    ("*BFLOAT16*", "NaN and infinity in the data"),
    ("test_operator_sqrt", "the root of a negative number"),
    ("*_opt", "optionals"),
    ("*_sequence", "sequences"),
    ("*training_mode*", "training mode"),
    ("test_training_dropout", "training mode"),
    ("test_training_dropout_default*", "training mode"),
    ("test_training_dropout*_mask", "training mode"),
    ("test_dropout_default_mask*", "the mask of a dropout"),
    ("test_reshape_allowzero_reordered", "axes of no elements"),
    ("test_split_zero_size_splits", "axes of no elements"),
    ("test_tri[lu]_zero", "axes of no elements"),
    ("test_constantofshape_int_shape_zero", "outputs of no elements"),
    ("test_slice_start_out_of_bounds", "outputs of no elements"),
    ("test_if_seq", "sequences"),
    ("test_loop1[36]_seq*", "sequences"),
    ("test_sequence_model8", "axes of no elements"),
    ("test_div_uint8", "division of integers that depend on data"),
    ("test_maxpool_2d_uint8", "pools of integers"),
    ("test_maxpool_with_argmax*", "places of maxima"),
    ("test_BatchNorm[123]d_*eval", "BatchNormalization of opset 6"),
    ("test_eyelike_p*", "outputs that depend on shapes alone"),
    ("test_eyelike_with_*", "outputs that depend on shapes alone"),
    ("test_isinf*", "NaN and infinity in the data"),
    ("test_isnan*", "NaN and infinity in the data"),
    ("test_not_*", "casts of opset 1, which this test adds"),
    ("test_resize_downsample_scales_*_align_corners", "a length that is not said"),
    ("test_scan_sum", "Scan of opset 8"),
    ("test_scatternd_multiply", "scatters that multiply"),
    ("test_operator_pow", "broadcasting by attributes (opset 6)"),
]

# Further ones of the package onnx (1.23), whose names may be those of older cases that pass.
NEWEST = [
    ("*FLOAT8*", "8-bit numbers"),
    ("*FLOAT4*", "4-bit numbers"),
    ("*INT4*", "4-bit numbers"),
    ("*INT2*", "2-bit numbers"),
    ("*_neginf_mask*", "NaN and infinity in the data"),
    ("test_attention_4d_with_past_and_present_qk_matmul_bias_[34]d_mask_causal_expanded",
     "infinity on the way"),
    ("test_causal_conv_with_state_kernel_size_one*", "outputs of no elements"),
    ("test_cast_*", "NaN and infinity in the data"),
    ("test_castlike_*", "inputs of no elements"),
    ("test_div_*int*", "division of integers that depend on data"),
    ("test_equal_string*", "strings"),
    ("test_mod_float_edge_cases*", "NaN and infinity in the data"),
    ("test_reduce_*_empty_set*", "axes of no elements"),
    ("test_scatter*_m[ai][xn]*", "scatters that take the largest or the smallest"),
    ("test_scatter*_mul", "scatters that multiply"),
    ("test_shape_start_greater_than_end", "outputs of no elements"),
    ("test_split_zero_size_splits_*", "axes of no elements"),
]

# Operators that are no part of a differentiable network of real numbers: strings, sequences,
# optionals, random numbers, training, 8-bit numbers, shapes that depend on the data.
NEVER = [
    "Adagrad", "Adam", "ArrayFeatureExtractor", "Bernoulli", "Binarizer", "BitCast", "BitwiseAnd",
    "BitwiseNot", "BitwiseOr", "BitwiseXor", "ConvInteger", "DequantizeLinear",
    "DynamicQuantizeLinear", "FlexAttention", "Gradient", "ImageDecoder", "LabelEncoder", "MatMulInteger", "Momentum", "NonMaxSuppression", "NonZero", "OptionalGetElement",
    "OptionalHasElement", "QLinearConv", "QLinearMatMul", "QuantizeLinear", "RandomUniformLike",
    "RegexFullMatch", "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert",
    "SequenceLength", "SequenceMap", "SplitToSequence", "StringConcat", "StringNormalizer",
    "StringSplit", "TfIdfVectorizer", "TreeEnsemble", "Unique",
]

# Operators that may come.
NOT_YET = [
    "BitShift",
    "DeformConv",
    "Det",
    "MaxUnpool",
    "RoiAlign",
    "TensorScatter",
]

OPERATORS = NEVER + NOT_YET
