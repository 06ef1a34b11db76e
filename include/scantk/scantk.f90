! SPDX-License-Identifier: Apache-2.0
! ScaNTK from Fortran: to be compiled with your program, mpifort -c scantk.f90. The headers beside
! this file say what each call does. Handles are type(c_ptr) that begin as c_null_ptr; texts end
! with c_null_char, and an empty one (c_null_char alone) stands for the defaults; numbers of
! samples and outputs begin at 0, as in C. Arrays are row-major to the library: samples stand as
! x(features, samples). MPI communicators are handles: those of mpif.h and module mpi, or
! comm%MPI_VAL of mpi_f08.
module scantk
  use, intrinsic :: iso_c_binding
  implicit none

  enum, bind(c) ! ntk_status
    enumerator :: ntk_success = 0, ntk_err_argument, ntk_err_shape, ntk_err_no_parameters, &
      ntk_err_file, ntk_err_format, ntk_err_exists, ntk_err_unsupported, ntk_err_memory, &
      ntk_err_mpi, ntk_err_hdf5, ntk_err_internal, ntk_err_nonfinite, ntk_err_numerical, &
      ntk_stopped
  end enum
  enum, bind(c) ! ntk_dtype
    enumerator :: ntk_f32 = 0, ntk_f64, ntk_i64, ntk_i32, ntk_i16, ntk_i8, ntk_u64, ntk_u32, &
      ntk_u16, ntk_u8, ntk_bool
  end enum
  enum, bind(c) ! ntk_reduction
    enumerator :: ntk_reduce_none = 0, ntk_reduce_trace, ntk_reduce_diagonal, ntk_reduce_pseudo
  end enum

  type, bind(c) :: ntk_model_info
    integer(c_int64_t) :: parameter_tensors, parameters, outputs
  end type
  type, bind(c) :: ntk_plan_info
    integer(c_int) :: reduction
    integer(c_int64_t) :: rows, columns, outputs, block, outputs_block, tiles
    integer(c_int) :: element_bytes
    logical(c_bool) :: symmetric
    integer(c_int) :: grid_rows, grid_columns, grid_depth
    real(c_double) :: minimal_flops
  end type
  type, bind(c) :: ntk_tile
    integer(c_int64_t) :: row_first, row_count, row_output, row_outputs
    integer(c_int64_t) :: column_first, column_count, column_output, column_outputs
  end type

  abstract interface
    integer(c_int) function ntk_tile_fn(tile, values, user) bind(c)
      import
      type(ntk_tile), intent(in) :: tile
      type(c_ptr), value :: values, user
    end function
    integer(c_int) function ntk_samples_fn(first, count, out, user) bind(c)
      import
      integer(c_int64_t), value :: first, count
      type(c_ptr), value :: out, user
    end function
  end interface

  interface
    integer(c_int) function ntk_context_create(comm, options, context) &
        bind(c, name='ntk_context_create_f')
      import
      integer(c_int), value :: comm
      character(kind=c_char), intent(in) :: options(*)
      type(c_ptr), intent(inout) :: context
    end function
    subroutine ntk_context_destroy(context) bind(c)
      import
      type(c_ptr), intent(inout) :: context
    end subroutine
    integer(c_int) function ntk_status_exit_code(status) bind(c)
      import
      integer(c_int), value :: status
    end function
    type(c_ptr) function ntk_context_error(context) bind(c)
      import
      type(c_ptr), value :: context
    end function

    integer(c_int) function ntk_model_read(context, path, options, model) bind(c)
      import
      type(c_ptr), value :: context
      character(kind=c_char), intent(in) :: path(*), options(*)
      type(c_ptr), intent(inout) :: model
    end function
    integer(c_int) function ntk_model_set_parameter(model, name, dtype, count, values) bind(c)
      import
      type(c_ptr), value :: model, values
      character(kind=c_char), intent(in) :: name(*)
      integer(c_int), value :: dtype
      integer(c_int64_t), value :: count
    end function
    type(ntk_model_info) function ntk_model_get_info(model) bind(c)
      import
      type(c_ptr), value :: model
    end function
    subroutine ntk_model_destroy(model) bind(c)
      import
      type(c_ptr), intent(inout) :: model
    end subroutine

    integer(c_int) function ntk_data_read(context, path, options, data) bind(c)
      import
      type(c_ptr), value :: context
      character(kind=c_char), intent(in) :: path(*), options(*)
      type(c_ptr), intent(inout) :: data
    end function
    integer(c_int) function ntk_data_from_rows(context, samples, dtype, ndim, shape, rows, data) &
        bind(c)
      import
      type(c_ptr), value :: context, rows
      integer(c_int64_t), value :: samples
      integer(c_int), value :: dtype, ndim
      integer(c_int64_t), intent(in) :: shape(*)
      type(c_ptr), intent(inout) :: data
    end function
    integer(c_int) function ntk_data_from_function(context, samples, dtype, ndim, shape, fn, &
        user, data) bind(c)
      import
      type(c_ptr), value :: context, user
      type(c_funptr), value :: fn
      integer(c_int64_t), value :: samples
      integer(c_int), value :: dtype, ndim
      integer(c_int64_t), intent(in) :: shape(*)
      type(c_ptr), intent(inout) :: data
    end function
    integer(c_int64_t) function ntk_data_samples(data) bind(c)
      import
      type(c_ptr), value :: data
    end function
    subroutine ntk_data_destroy(data) bind(c)
      import
      type(c_ptr), intent(inout) :: data
    end subroutine

    integer(c_int) function ntk_plan_create(model, rows, columns, options, plan) bind(c)
      import
      type(c_ptr), value :: model, rows, columns
      character(kind=c_char), intent(in) :: options(*)
      type(c_ptr), intent(inout) :: plan
    end function
    subroutine ntk_plan_get_info(plan, info) bind(c)
      import
      type(c_ptr), value :: plan
      type(ntk_plan_info), intent(out) :: info
    end subroutine
    integer(c_int) function ntk_plan_to_file(plan, path, options, command_line) bind(c)
      import
      type(c_ptr), value :: plan
      character(kind=c_char), intent(in) :: path(*), options(*), command_line(*)
    end function
    integer(c_int) function ntk_plan_to_tiles(plan, fn, user) bind(c)
      import
      type(c_ptr), value :: plan, user
      type(c_funptr), value :: fn
    end function
    integer(c_int) function ntk_plan_to_matrix(plan, desc, dtype, local) bind(c)
      import
      type(c_ptr), value :: plan, local
      integer(c_int), intent(in) :: desc(9)
      integer(c_int), value :: dtype
    end function
    subroutine ntk_plan_destroy(plan) bind(c)
      import
      type(c_ptr), intent(inout) :: plan
    end subroutine
  end interface

  interface
    integer(c_size_t) function ntk_text_length(text) bind(c, name='strlen')
      import
      type(c_ptr), value :: text
    end function
  end interface

contains

  ! What was wrong with the last call that failed on this rank.
  function ntk_message() result(message)
    character(len=:), allocatable :: message
    character(kind=c_char), pointer :: letters(:)
    type(c_ptr) :: text
    integer :: i
    text = ntk_context_error(c_null_ptr)
    call c_f_pointer(text, letters, [ntk_text_length(text)])
    allocate (character(len=size(letters)) :: message)
    do i = 1, size(letters)
      message(i:i) = letters(i)
    end do
  end function
end module
