! SPDX-License-Identifier: Apache-2.0
! log det of the kernel of MODEL over rows that the ranks make, by ScaLAPACK:  logdet MODEL
program logdet
  use mpi
  use scantk
  implicit none
  integer, parameter :: rows = 10, inputs = 12, nb = 16
  type(c_ptr) :: context = c_null_ptr, model = c_null_ptr, data = c_null_ptr, plan = c_null_ptr
  type(ntk_plan_info) :: facts
  real(c_double), target :: x(inputs, rows)
  real(c_double), allocatable, target :: a(:, :)
  real(c_double) :: mine, total
  character(len=1024) :: path
  integer :: rank, ranks, ierr, blacs, nprow, npcol, myrow, mycol, n, leading, desc(9), info
  integer :: i, k, row, column
  integer, external :: numroc, indxg2l, indxg2p

  call MPI_Init(ierr)
  call MPI_Comm_rank(MPI_COMM_WORLD, rank, ierr)
  call MPI_Comm_size(MPI_COMM_WORLD, ranks, ierr)
  call get_command_argument(1, path)
  do i = 1, rows
    do k = 1, inputs
      x(k, i) = sin(real((rank * rows + i - 1) * inputs + k - 1, c_double))
    end do
  end do

  call check(ntk_context_create(int(MPI_COMM_WORLD, c_int), c_null_char, context))
  call check(ntk_model_read(context, trim(path)//c_null_char, c_null_char, model))
  call check(ntk_data_from_rows(context, int(rows, c_int64_t), int(ntk_f64, c_int), 1_c_int, &
    [int(inputs, c_int64_t)], c_loc(x), data))
  call check(ntk_plan_create(model, data, c_null_ptr, '--dtype f64'//c_null_char, plan))
  call ntk_plan_get_info(plan, facts)
  n = int(facts%rows * facts%outputs)

  call blacs_get(0, 0, blacs)
  call blacs_gridinit(blacs, 'R', ranks, 1)
  call blacs_gridinfo(blacs, nprow, npcol, myrow, mycol)
  leading = max(1, numroc(n, nb, myrow, 0, nprow))
  allocate (a(leading, n))
  call descinit(desc, n, n, nb, nb, 0, 0, blacs, leading, info)
  call check(ntk_plan_to_matrix(plan, desc, int(ntk_f64, c_int), c_loc(a)))
  call pdpotrf('L', n, a, 1, 1, desc, info)

  mine = 0
  do i = 1, n
    row = indxg2l(i, nb, myrow, 0, nprow)
    column = indxg2l(i, nb, mycol, 0, npcol)
    if (indxg2p(i, nb, myrow, 0, nprow) == myrow) mine = mine + 2 * log(a(row, column))
  end do
  call MPI_Reduce(mine, total, 1, MPI_DOUBLE_PRECISION, MPI_SUM, 0, MPI_COMM_WORLD, ierr)
  if (rank == 0) print '(i0, a, i0, a, i0, a, f0.6)', n, ' x ', n, ', info ', info, &
    ', log det ', total
  call ntk_plan_destroy(plan)
  call ntk_data_destroy(data)
  call ntk_model_destroy(model)
  call ntk_context_destroy(context)
  call MPI_Finalize(ierr)

contains
  subroutine check(status)
    integer(c_int), intent(in) :: status
    if (status == ntk_success) return
    print '(a)', ntk_message()
    call MPI_Abort(MPI_COMM_WORLD, int(ntk_status_exit_code(status)), ierr)
  end subroutine
end program
