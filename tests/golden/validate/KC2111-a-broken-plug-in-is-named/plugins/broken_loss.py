from runtime.contract import NothingOfThatName as LOSS
