from runtime.contract import Loss, NothingOfThatName
