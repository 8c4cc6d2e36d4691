# cmake -DPROGRAM=<file> -DEXPECTED=<file or nothing> [-DARGUMENT=<its one argument>] -P run_program.cmake: the program must end with status 0 and, where a file
# is given, print exactly its content.
execute_process(COMMAND "${PROGRAM}" ${ARGUMENT} RESULT_VARIABLE status OUTPUT_VARIABLE printed)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "ended with ${status}, having printed:\n${printed}")
endif()
if(EXPECTED)
  file(READ "${EXPECTED}" expected)
  if(NOT printed STREQUAL expected)
    message(FATAL_ERROR "the page says that it prints:\n${expected}\nbut it prints:\n${printed}")
  endif()
endif()
